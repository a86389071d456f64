package socketio

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

func pack(t testing.TB, v any) []byte {
	t.Helper()
	b, _, err := msgpack.AppendValue(nil, v)
	require.NoError(t, err)
	return b
}

func newCodec(d Dialect) *Codec { return New(Options{Dialect: d}) }

func TestCodecNames(t *testing.T) {
	if c := newCodec(V5); c.Protocol() != broker.SocketIO || c.Hello() != "socket.io/v5" || newCodec(V6).Hello() != "socket.io/v6" {
		t.Error(c.Hello())
	}
	assert.Equal(t, "dialect(7)", Dialect(7).String(), Dialect(7))
}

// V6 sends a room whose name is an integer in both forms and on the namespace's channel. A
// received number becomes text, and each room is listed once.
func TestNumberRooms(t *testing.T) {
	for room, both := range map[string]bool{
		"42": true, "-7": true, "0": true, "9007199254740991": true, "-9007199254740991": true,
		"042": false, "-0": false, "+1": false, "1.5": false, "1e3": false, "9007199254740992": false, "99999999999999999999": false,
		"": false, "-": false, "4 2": false, "#1": false, "１": false, "lobby": false, "-07": false,
	} {
		b := wire.Broadcast{Origin: "me", Rooms: []string{room}, Except: []string{room}, Payload: pack(t, []any{"e"})}
		for _, d := range []Dialect{V6, V5} {
			c := newCodec(d)
			encoded, err := c.AppendBroadcast(nil, "/", &b)
			require.NoError(t, err)
			opts := byOracle(t, encoded).([]any)[2].(map[string]any)
			want := 1
			channel := broker.SocketIO.Room("/", room)
			if both && d == V6 {
				want = 2
				channel = broker.SocketIO.Broadcast("/")
			}
			require.Len(t, opts["rooms"].([]any), want, "%s sends %v", d, opts)
			require.Len(t, opts["except"].([]any), want, "%s sends %v", d, opts)
			assert.Equal(t, room, opts["rooms"].([]any)[0], "%s sends %v", d, opts)
			if got := c.BroadcastChannel("/", &b); got != channel {
				t.Errorf("%s sends room %q on %v", d, room, got)
			}
			var back wire.Broadcast
			err = c.DecodeBroadcast(encoded, "/", &back)
			if assert.NoError(t, err, "room %q came back", room) {
				assert.Equal(t, b.Rooms, back.Rooms, "room %q came back", room)
				assert.Equal(t, b.Except, back.Except, "room %q came back", room)
			}
		}
	}
	c := newCodec(V6)
	for _, rooms := range [][]string{nil, {"a", "b"}, {"1", "2"}} {
		if got := c.BroadcastChannel("/n", &wire.Broadcast{Rooms: rooms}); got != broker.SocketIO.Broadcast("/n") {
			t.Errorf("%q on %v", rooms, got)
		}
	}
	in := pack(t, []any{"x", map[string]any{"type": 2, "data": []any{"e"}, "nsp": "/"}, map[string]any{"rooms": []any{42, "42", 1.5, "a", "a", -0.25, 1e21}}})
	var b wire.Broadcast
	err := c.DecodeBroadcast(in, "/", &b)
	require.NoError(t, err)
	assert.Equal(t, []string{"42", "1.5", "a", "-0.25", "1e+21"}, b.Rooms)
	many := make([]any, 0, 2000)
	for i := range 1000 {
		many = append(many, i, msgpack.FormatNumber(float64(i)))
	}
	in = pack(t, []any{"x", map[string]any{"type": 2, "data": []any{"e"}, "nsp": "/"}, map[string]any{"rooms": many}})
	err = c.DecodeBroadcast(in, "/", &b)
	require.NoError(t, err)
	assert.Len(t, b.Rooms, 1000)
}

// A missing or empty field counts as empty.
func TestBroadcastTolerance(t *testing.T) {
	packet := map[string]any{"type": 2, "data": []any{"e", 1}, "nsp": "/"}
	for name, in := range map[string][]any{
		"list for opts":    {"x", packet, []any{}},
		"bin for opts":     {"x", packet, []byte{}},
		"empty opts":       {"x", packet, map[string]any{}},
		"nil in opts":      {"x", packet, map[string]any{"rooms": nil, "except": nil, "flags": nil}},
		"texts in opts":    {"x", packet, map[string]any{"rooms": "", "except": "", "flags": ""}},
		"lists in opts":    {"x", packet, map[string]any{"flags": []any{1}}},
		"undefined":        {"x", packet, map[string]any{"rooms": msgpack.Raw("\xd4\x00\x00")}},
		"more elements":    {"x", packet, map[string]any{}, "", 5},
		"more keys":        {"x", packet, map[string]any{"z": []any{1}, "flags": map[string]any{"local": true, "volatile": 0}}},
		"keys of any kind": {"x", packet, msgpack.Raw("\x82\x01\x02\xc0\x90")},
		"no namespace":     {"x", map[string]any{"type": 2, "data": []any{"e", 1}}, map[string]any{}},
		"packet id":        {"x", map[string]any{"type": 2, "data": []any{"e", 1}, "id": 7, "nsp": "/"}, map[string]any{}},
	} {
		b := wire.Broadcast{Rooms: []string{"old"}, Except: []string{"old"}, Flags: 7, Header: wire.Header{"old": "x"}, Relay: "old", Seq: 1}
		assert.NoError(t, newCodec(V6).DecodeBroadcast(pack(t, in), "/", &b), name)
		assert.Equal(t, "x", b.Origin, name)
		assert.Zero(t, len(b.Rooms)+len(b.Except), name)
		assert.Zero(t, b.Flags, name)
		assert.Nil(t, b.Header, name)
		assert.Empty(t, b.Relay, name)
		assert.Zero(t, b.Seq, name)
		assert.Equal(t, "\x92\xa1e\x01", string(b.Payload), name)
	}
	var b wire.Broadcast
	require.NoError(t, newCodec(V6).DecodeBroadcast(pack(t, []any{nil, packet, map[string]any{}}), "/", &b))
	assert.Equal(t, "emitter", b.Origin, "uid nil")
}

func TestBroadcastMalformed(t *testing.T) {
	packet := map[string]any{"type": 2, "data": []any{"e"}, "nsp": "/"}
	with := func(key string, v any) map[string]any {
		m := map[string]any{"type": 2, "data": []any{"e"}, "nsp": "/", key: v}
		return m
	}
	good := pack(t, []any{"x", packet, map[string]any{"rooms": []any{"a"}, "except": []any{}, "flags": map[string]any{}}})
	cases := map[string][]byte{
		"empty": {}, "nil": {0xc0}, "map": {0x80}, "JSON": []byte(`["x",{}]`),
		"trailing bytes": append(slices.Clone(good), 0xc0),
		"packet text":    pack(t, []any{"x", "packet", nil}),
		"data nil":       pack(t, []any{"x", with("data", nil)}),
		"data map":       pack(t, []any{"x", with("data", map[string]any{})}),
		"no data":        pack(t, []any{"x", map[string]any{"type": 2, "nsp": "/"}}),
		"type text":      pack(t, []any{"x", with("type", "2")}),
		"type connect":   pack(t, []any{"x", with("type", 0)}),
		"no type":        pack(t, []any{"x", map[string]any{"data": []any{"e"}, "nsp": "/"}}),
		"no opts":        pack(t, []any{"x", packet}),
		"nil opts":       pack(t, []any{"x", packet, nil}),
		"reserved event": pack(t, []any{"x", with("data", []any{"disconnect"}), map[string]any{}}),
		"rooms number":   pack(t, []any{"x", packet, map[string]any{"rooms": 1}}),
		"opts text":      pack(t, []any{"x", packet, "opts"}),
		"except map":     pack(t, []any{"x", packet, map[string]any{"except": map[string]any{}}}),
		"huge array":     []byte("\xdd\xff\xff\xff\xff"),
		"huge rooms":     append(slices.Clone(good[:len(good)-20]), 0xdd, 0x7f, 0xff, 0xff, 0xff),
		"deep":           []byte("\x93\xa1x" + strings.Repeat("\x91", 100_000)),
	}
	for i := range good {
		cases["cut at "+msgpack.FormatNumber(float64(i))] = good[:i]
	}
	for name, in := range cases {
		var b wire.Broadcast
		err := newCodec(V6).DecodeBroadcast(in, "/", &b)
		var bad *MessageError
		if assert.ErrorAs(t, err, &bad, name) {
			assert.Equal(t, "broadcast", bad.Message, name)
			assert.NotErrorIs(t, err, wire.ErrIgnored, name)
		}
	}
	// Node.js servers ignore these without a log line.
	for name, in := range map[string]any{"nothing": []any{}, "uid alone": []any{"x"}, "packet nil": []any{"x", nil, map[string]any{}}, "a room that cannot be": []any{"x", packet, map[string]any{"rooms": []any{nil}}}} {
		var b wire.Broadcast
		err := newCodec(V6).DecodeBroadcast(pack(t, in), "/", &b)
		assert.ErrorIs(t, err, wire.ErrIgnored, name)
		assert.NotErrorIs(t, err, wire.ErrForeignNamespace, name)
	}
}

// The codec refuses broadcasts that crash a process which reads them.
func TestBroadcastRefused(t *testing.T) {
	ok := pack(t, []any{"e"})
	for name, b := range map[string]wire.Broadcast{
		"no payload":      {},
		"payload map":     {Payload: pack(t, map[string]any{})},
		"two values":      {Payload: append(slices.Clone(ok), ok...)},
		"cut":             {Payload: ok[:2]},
		"payload deep":    {Payload: []byte(strings.Repeat("\x91", 511) + "\xc0")},
		"room UTF-8":      {Payload: ok, Rooms: []string{"\xff"}},
		"except UTF-8":    {Payload: ok, Except: []string{"\xff"}},
		"uid UTF-8":       {Payload: ok, Origin: "\xff"},
		"header UTF-8":    {Payload: ok, Header: wire.Header{"a": "\xff"}},
		"header too long": {Payload: ok, Header: wire.Header{"a": strings.Repeat("x", 8<<10)}},
	} {
		out, err := newCodec(V6).AppendBroadcast([]byte("kept"), "/", &b)
		var bad *MessageError
		if assert.ErrorAs(t, err, &bad, name) {
			assert.Equal(t, "kept", string(out), name)
		}
	}
}

// A bridge passes on text that is not UTF-8 in the form that receivers decode.
func TestBadTextPassedOn(t *testing.T) {
	in := pack(t, []any{"x", map[string]any{"type": 2, "data": msgpack.Raw("\x91\xa1e"), "nsp": "/"}, map[string]any{}})
	in = []byte(strings.Replace(string(in), "\x91\xa1e", "\x92\xa1e\xa2\xffa", 1))
	c := newCodec(V6)
	var b wire.Broadcast
	require.NoError(t, c.DecodeBroadcast(in, "/", &b))
	encoded, err := c.AppendBroadcast(nil, "/", &b)
	require.NoError(t, err)
	err = c.DecodeBroadcast(encoded, "/", &b)
	require.NoError(t, err)
	assert.Equal(t, "\x92\xa1e\xa4\ufffda", string(b.Payload))
}

func TestBinaryType5(t *testing.T) {
	b := wire.Broadcast{Origin: "x", Payload: pack(t, []any{"e", []byte{1}})}
	for _, c := range []struct {
		d    Dialect
		on   bool
		want float64
	}{{V5, true, 5}, {V5, false, 2}, {V6, true, 2}} {
		codec := newCodec(c.d)
		codec.UseBinary5(c.on)
		encoded, err := codec.AppendBroadcast(nil, "/", &b)
		require.NoError(t, err)
		assert.Equal(t, c.want, byOracle(t, encoded).([]any)[1].(map[string]any)["type"], "%s, %v: type", c.d, c.on)
		text := wire.Broadcast{Origin: "x", Flags: wire.Binary, Payload: pack(t, []any{"e", "a"})}
		encoded, err = codec.AppendBroadcast(nil, "/", &text)
		if assert.NoError(t, err, "%s, %v: text as %x", c.d, c.on, encoded) {
			assert.Equal(t, 2.0, byOracle(t, encoded).([]any)[1].(map[string]any)["type"], "%s, %v: text as %x", c.d, c.on, encoded)
		}
	}
}

func TestHeadersTravel(t *testing.T) {
	header := wire.Header{"traceparent": "00-a-b-01", "tracestate": "v=1", "baggage": "k=v", "x-mine": "é", "other": ""}
	c := newCodec(V6)
	b := wire.Broadcast{Origin: "x", Header: header, Relay: "fleet:7", Payload: pack(t, []any{"e"}), Flags: wire.Volatile | wire.NoCompress}
	encoded, err := c.AppendBroadcast(nil, "/", &b)
	require.NoError(t, err)
	opts := byOracle(t, encoded).([]any)[2].(map[string]any)
	assert.Equal(t, "00-a-b-01", opts["traceparent"])
	assert.Equal(t, "v=1", opts["tracestate"])
	assert.Equal(t, "k=v", opts["baggage"])
	require.Len(t, opts, 7)
	assert.Equal(t, map[string]any{"volatile": true, "compress": false}, opts["flags"])
	var back wire.Broadcast
	err = c.DecodeBroadcast(encoded, "/", &back)
	require.NoError(t, err)
	assert.Equal(t, header, back.Header)
	assert.Equal(t, "fleet:7", back.Relay)
	assert.Equal(t, b.Flags, back.Flags)

	// Only headers with a key of their own: no extension object.
	b.Header, b.Relay = wire.Header{"traceparent": "00"}, ""
	encoded, _ = c.AppendBroadcast(nil, "/", &b)
	opts = byOracle(t, encoded).([]any)[2].(map[string]any)
	assert.Equal(t, "00", opts["traceparent"])
	assert.Nil(t, opts[keyExtra])

	for _, native := range []bool{true, false} {
		for _, payload := range [][]byte{pack(t, []any{"e"}), pack(t, []any{"e", []byte{1}})} {
			q := wire.Request{ID: "1", Op: wire.OpBroadcast, Origin: "x", Native: native, Header: header, Payload: payload, Timeout: 1500 * time.Microsecond, Rooms: []string{"7"}, Except: []string{"b"}, Flags: wire.Volatile | wire.NoCompress}
			encoded, err := c.AppendRequest(nil, "/", &q)
			require.NoError(t, err)
			var got wire.Request
			require.NoError(t, c.DecodeRequest(encoded, "/", &got))
			q.Timeout = 2 * time.Millisecond
			got.Targets = nil
			assert.Equal(t, q, got, "sent")
			a := wire.Response{Request: &q, RequestID: "1", Ack: true, Node: "y", Header: header, Payload: pack(t, "yes")}
			encoded, err = c.AppendResponse(nil, "/", &a)
			require.NoError(t, err)
			var back wire.Response
			err = c.DecodeResponse(encoded, "/", &back)
			require.NoError(t, err)
			assert.Equal(t, header, back.Header)
			assert.Equal(t, native, back.Node == "y")
			assert.Equal(t, "\xa3yes", string(back.Payload))
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	c := newCodec(V6)
	packet := map[string]any{"type": 2, "data": []any{"e"}, "nsp": "/"}
	for _, size := range []int{100, wire.MaxHeader, 1 << 20} {
		in := pack(t, []any{"x", packet, map[string]any{"traceparent": strings.Repeat("x", size), "tracestate": 5, "crossroom": map[string]any{
			"h": map[string]any{"a": strings.Repeat("y", size), "b": 1}, "relay": "r:1"}}})
		var b wire.Broadcast
		require.NoError(t, c.DecodeBroadcast(in, "/", &b))
		n := 0
		for k, v := range b.Header {
			n += len(k) + len(v)
		}
		if n > wire.MaxHeader || size == 100 && len(b.Header) != 2 || b.Relay != "r:1" {
			t.Errorf("%d bytes of header accepted of %d", n, size)
		}
	}
}

func TestBroadcastAllocatesNothing(t *testing.T) {
	c := newCodec(V6)
	in := wire.Broadcast{Origin: "abcdef", Rooms: []string{"lobby", "7"}, Except: []string{"someone"}, Flags: wire.Volatile, Payload: pack(t, []any{"message", strings.Repeat("x", 100)})}
	var encoded []byte
	var err error
	n := testing.AllocsPerRun(100, func() { encoded, err = c.AppendBroadcast(encoded[:0], "/chat", &in) })
	assert.Zero(t, n)
	assert.NoError(t, err)
	var out wire.Broadcast
	n = testing.AllocsPerRun(100, func() { err = c.DecodeBroadcast(encoded, "/chat", &out) })
	assert.Zero(t, n)
	assert.NoError(t, err)
	assert.Equal(t, in.Rooms, out.Rooms)
}

// If there is room before the payload, the message is written around it. The bytes are the
// same, and the payload is not copied.
func TestBroadcastAroundItsPayload(t *testing.T) {
	c := newCodec(V6)
	payload := pack(t, []any{"message", strings.Repeat("x", 100)})
	b := wire.Broadcast{Origin: "abcdef", Rooms: []string{"lobby", "7"}, Flags: wire.Volatile, Payload: payload}
	want, err := c.AppendBroadcast(nil, "/chat", &b)
	require.NoError(t, err)
	before := bytes.Index(want, payload)
	for _, room := range []int{0, before - 1, before, before + 1, 200} {
		for _, behind := range []int{0, 500} {
			memory := append(make([]byte, room, room+len(payload)+behind), payload...)
			b.Lead, b.Payload = memory[:room], memory[room:]
			dst := make([]byte, 0, 1000)
			got, err := c.AppendBroadcast(dst, "/chat", &b)
			if assert.NoError(t, err, "room %d", room) {
				assert.Equal(t, want, got, "room %d", room)
			}
			stays := room >= before && behind > 0
			assert.Equal(t, &got[before] == &b.Payload[0], stays, "room %d, %d behind: the payload stays where it is: %t", room, behind, !stays)
			assert.Equal(t, payload, b.Payload, "room %d: the payload was changed", room)
		}
	}
}

func BenchmarkAppendBroadcast(b *testing.B) {
	c := newCodec(V6)
	in := wire.Broadcast{Origin: "abcdef", Rooms: []string{"lobby"}, Payload: pack(b, []any{"message", strings.Repeat("x", 115)})}
	var encoded []byte
	b.ReportAllocs()
	for b.Loop() {
		encoded, _ = c.AppendBroadcast(encoded[:0], "/", &in)
	}
	b.SetBytes(int64(len(encoded)))
}

func BenchmarkDecodeBroadcast(b *testing.B) {
	c := newCodec(V6)
	in := wire.Broadcast{Origin: "abcdef", Rooms: []string{"lobby"}, Payload: pack(b, []any{"message", strings.Repeat("x", 115)})}
	encoded, err := c.AppendBroadcast(nil, "/", &in)
	require.NoError(b, err)
	var out wire.Broadcast
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.DecodeBroadcast(encoded, "/", &out); err != nil {
			b.Fatal(err)
		}
	}
}

// Forms that other programs write: flags and exceptions, the emitters' order of keys, lists
// instead of maps.
func BenchmarkDecodeBroadcastOf(b *testing.B) {
	packet := "\x83\xa4type\x02\xa4data\x92\xa5hello\xa3one\xa3nsp\xa1/"
	for name, in := range map[string]string{
		"except":  "\x93\xa6abcdef" + packet + "\x83\xa5rooms\x91\xa5lobby\xa6except\x91\xb412345678901234567890\xa5flags\x81\xa8volatile\xc3",
		"emitter": "\x93\xa7emitter" + packet + "\x82\xa5rooms\x90\xa5flags\x80",
		"python":  "\x93\xa7emitter\x83\xa4data\x92\xa5hello\xa3one\xa4type\x02\xa3nsp\xa1/\x83\xa5rooms\xc0\xa5flags\x82\xa8volatile\xc2\xa8compress\xc2\xa6except\xc0",
	} {
		b.Run(name, func(b *testing.B) {
			c, encoded := newCodec(V6), []byte(in)
			var out wire.Broadcast
			b.ReportAllocs()
			for b.Loop() {
				if err := c.DecodeBroadcast(encoded, "/", &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The response to fetchSockets from a server with that many sockets.
func BenchmarkDecodeSockets(b *testing.B) {
	socket := `{"id":"abcdefghijklmnopqrst","handshake":{"headers":{"host":"localhost","user-agent":"Mozilla/5.0 \"x\""},"time":"Tue Nov 14 2023","address":"::1","issued":1700000000000,"query":{"EIO":"4"},"auth":{}},"rooms":["abcdefghijklmnopqrst","lobby"],"data":{"user":42}}`
	for _, sockets := range []int{1, 100} {
		b.Run(fmt.Sprint(sockets), func(b *testing.B) {
			c := newCodec(V6)
			in := []byte(`{"requestId":"abcdef","sockets":[` + strings.Repeat(socket+",", sockets-1) + socket + `]}`)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				var out wire.Response
				if err := c.DecodeResponse(in, "/", &out); err != nil || len(out.Members) != sockets {
					b.Fatal(err)
				}
			}
		})
	}
}

// The request that other servers send most often.
func BenchmarkDecodeRequest(b *testing.B) {
	c, in := newCodec(V6), []byte(`{"uid":"abcdef","requestId":"ghijkl","type":2,"opts":{"rooms":["lobby"],"except":[]}}`)
	b.ReportAllocs()
	for b.Loop() {
		var out wire.Request
		if err := c.DecodeRequest(in, "/", &out); err != nil {
			b.Fatal(err)
		}
	}
}
