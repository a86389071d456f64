package socketio

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// addReadings adds the recorded readings of the real receivers to a fuzz target.
func addReadings(f *testing.F, kind string, args ...any) {
	text, err := os.ReadFile("testdata/readings.json")
	require.NoError(f, err)
	var file map[string]json.RawMessage
	var list []struct{ Payload []byte }
	require.NoError(f, json.Unmarshal(text, &file))
	require.NoError(f, json.Unmarshal(file[kind], &list))
	for _, r := range list {
		f.Add(append([]any{r.Payload}, args...)...)
	}
}

func FuzzDecodeBroadcast(f *testing.F) {
	addReadings(f, "broadcast", "/")
	for _, v := range classic(f, "broadcast") {
		f.Add(v.Payload, v.ns())
	}
	f.Add(pack(f, []any{"x", map[string]any{"type": 2, "data": []any{"e"}, "nsp": "/"}, map[string]any{
		"rooms": []any{42, "42"}, "traceparent": "00", "crossroom": map[string]any{"relay": "r", "h": map[string]any{"a": "b"}}}}), "/")
	f.Fuzz(func(t *testing.T, in []byte, ns string) {
		c := newCodec(V6)
		var b wire.Broadcast
		if err := c.DecodeBroadcast(in, ns, &b); err != nil {
			var bad *MessageError
			if !errors.As(err, &bad) && !errors.Is(err, wire.ErrIgnored) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		encoded, err := c.AppendBroadcast(nil, ns, &b)
		var bad *MessageError
		var harm *HarmError
		var reserved *NameError
		if errors.As(err, &bad) || errors.As(err, &harm) || errors.As(err, &reserved) {
			return // the payload is delivered without decoding, and may be unfit for sending
		}
		require.NoError(t, err)
		var back wire.Broadcast
		require.NoError(t, c.DecodeBroadcast(encoded, ns, &back), "the codec refuses its own bytes")
		b.Flags &^= wire.Binary // only the packet type shows it
		b.HeaderDropped = 0     // is not sent
		b.Payload = msgpack.Portable(b.Payload)
		if len(b.Rooms)+len(back.Rooms) == 0 {
			b.Rooms, back.Rooms = nil, nil
		}
		if len(b.Except)+len(back.Except) == 0 {
			b.Except, back.Except = nil, nil
		}
		require.Equal(t, back, b)
	})
}

func FuzzDecodeRequest(f *testing.F) {
	addReadings(f, "request")
	for _, v := range classic(f, "request") {
		f.Add(v.Payload)
	}
	for _, in := range hostile {
		if len(in) < 1000 {
			f.Add([]byte(in))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newCodec(V6)
		var r wire.Request
		if err := c.DecodeRequest(in, "/", &r); err != nil {
			var bad *MessageError
			if !errors.As(err, &bad) && !errors.Is(err, wire.ErrIgnored) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		if r.Op == 0 || r.ByID && r.Member == "" && r.Op == wire.OpMembers {
			t.Fatalf("%+v", r)
		}
		if r.Op == wire.OpMembers {
			r.Detail = true // only Native requests can ask for ids alone
		}
		encoded, err := c.AppendRequest(nil, "/", &r)
		if err != nil {
			return
		}
		var back wire.Request
		require.NoError(t, c.DecodeRequest(encoded, "/", &back), "own bytes refused: %s", encoded)
		if back.Op != r.Op && r.Op != wire.OpRoomsOf || back.ByID != r.ByID && r.Op != wire.OpRoomsOf ||
			back.Member != r.Member && r.Op != wire.OpRoomsOf || back.Close != r.Close || !slices.Equal(back.Targets, r.Targets) ||
			!r.ByID && (!slices.Equal(back.Rooms, r.Rooms) || !slices.Equal(back.Except, r.Except)) || back.Origin != r.Origin {
			t.Fatalf("%s:\n %+v\n came back as %+v", encoded, r, back)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	addReadings(f, "response")
	for _, v := range classic(f, "response") {
		f.Add(v.Payload)
	}
	f.Add([]byte(`{"requestId":"1","sockets":[{"id":"s","rooms":[1,"1"],"data":1}],"crossroom":{"n":1,"node":"x","nf":1,"c":3,"e":"x","h":{"a":"b"}}}`))
	f.Add([]byte("\x84\xa4type\x09\xa9requestId\xa11\xa6packet\xc4\x01x\xa9crossroom\x82\xa1n\x01\xa4node\xa1y"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newCodec(V6)
		var r wire.Response
		if err := c.DecodeResponse(in, "/", &r); err != nil {
			var bad *MessageError
			if !errors.As(err, &bad) && !errors.Is(err, wire.ErrIgnored) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		require.NotEmpty(t, r.RequestID)
		require.GreaterOrEqual(t, r.Count, -1)
		require.LessOrEqual(t, len(r.Members), len(in))
		require.LessOrEqual(t, len(r.Rooms), len(in))
		op := wire.OpMembers
		if r.Ack {
			op = wire.OpBroadcast
		}
		r.Request = &wire.Request{ID: r.RequestID, Origin: "u", Op: op, Native: true}
		encoded, err := c.AppendResponse(nil, "/", &r)
		if err != nil {
			return
		}
		var back wire.Response
		require.NoError(t, c.DecodeResponse(encoded, "/", &back), "own bytes refused: %s", encoded)
		if r.Ack {
			r.Payload = msgpack.Portable(r.Payload)
		}
		if back.RequestID != r.RequestID || back.Ack != r.Ack || string(back.Payload) != string(r.Payload) && r.Ack ||
			len(back.Members) != len(r.Members) && !r.Ack || !reflect.DeepEqual(back.Header, r.Header) {
			t.Fatalf("%s:\n %+v\n came back as %+v", encoded, r, back)
		}
	})
}

func FuzzSharded(f *testing.F) {
	for _, role := range []string{"broadcast", "request", "response"} {
		for _, v := range shardedVectors(f, role) {
			f.Add(v.Payload, v.ns())
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, ns string) {
		c := New(Options{Mode: ShardDynamic})
		SortOf(in)
		var b wire.Broadcast
		var q wire.Request
		var r wire.Response
		for _, err := range []error{c.DecodeBroadcast(in, ns, &b), c.DecodeRequest(in, ns, &q), c.DecodeResponse(in, ns, &r)} {
			var bad *MessageError
			if err != nil && !errors.As(err, &bad) && !errors.Is(err, wire.ErrIgnored) && !errors.Is(err, wire.ErrForeignNamespace) {
				t.Fatalf("error of type %T: %v", err, err)
			}
		}
		if b.Payload == nil {
			return
		}
		out, err := c.AppendBroadcast(nil, ns, &b)
		if err != nil {
			return // what was read may be unfit for sending
		}
		require.Equal(t, SortBroadcast, SortOf(out), "%q", out)
		var back wire.Broadcast
		require.NoError(t, c.DecodeBroadcast(out, ns, &back), "the codec refuses its own bytes: %q", out)
	})
}
