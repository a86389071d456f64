package socketio

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/wire"
)

// shardedVectors returns the captured messages of the sharded adapter of one role.
func shardedVectors(t testing.TB, role string) []vector {
	list := slices.DeleteFunc(loadVectors(t), func(v vector) bool { return v.Dialect != "sharded" || v.Role != role })
	require.NotEmpty(t, list)
	return list
}

// shardedOf returns a codec of the mode of the servers that a vector was captured from.
func shardedOf(v *vector) *Codec {
	mode := ShardDynamic
	switch {
	case strings.Contains(v.Name, "/static-"):
		mode = ShardStatic
	case strings.Contains(v.Name, "/dynamic-private-"):
		mode = ShardPrivate
	}
	return New(Options{Mode: mode})
}

// shardName returns the name of a channel on Redis, as TestNames of the Redis broker has it.
func shardName(prefix string, ns, room string) string {
	if room == "" {
		return prefix + "#" + ns + "#"
	}
	return prefix + "#" + ns + "#" + room + "#"
}

// sameMessage compares messages in JSON byte by byte, and others as trees.
func sameMessage(t *testing.T, v *vector, got []byte) {
	t.Helper()
	if v.Name == "sharded/rooms-number-and-string" {
		return // the number and the text of a room are in another order
	}
	if v.Kind == "json" {
		assert.Equal(t, string(v.Payload), string(got), v.Name)
		return
	}
	assert.Equal(t, decodeTree(t, v.Payload), decodeTree(t, got), v.Name)
}

func decodeTree(t *testing.T, payload []byte) any {
	t.Helper()
	if payload[0] == '{' {
		var x any
		require.NoError(t, json.Unmarshal(payload, &x))
		return plain(x)
	}
	return byUs(t, payload)
}

// TestShardedBroadcasts reads every captured broadcast, and writes it again: with the same bytes if it is JSON.
func TestShardedBroadcasts(t *testing.T) {
	for _, v := range shardedVectors(t, "broadcast") {
		t.Run(v.Name, func(t *testing.T) {
			c := shardedOf(&v)
			assert.Equal(t, SortBroadcast, SortOf(v.Payload))
			var b wire.Broadcast
			require.NoError(t, c.DecodeBroadcast(v.Payload, v.ns(), &b))
			m := v.want(t).(map[string]any)
			data := m["data"].(map[string]any)
			assert.Equal(t, m["uid"], b.Origin)
			assert.Equal(t, plain(data["packet"].(map[string]any)["data"]), byUs(t, b.Payload))
			opts := data["opts"].(map[string]any)
			assert.Equal(t, namesOf(opts, "rooms"), append([]string{}, b.Rooms...))
			assert.Equal(t, namesOf(opts, "except"), append([]string{}, b.Except...))
			assert.Equal(t, flagsOf(opts["flags"].(map[string]any)), b.Flags)
			ch := c.BroadcastChannel(v.ns(), &b)
			prefix, _, _ := strings.Cut(v.Channel, "#")
			assert.Equal(t, v.Channel, shardName(prefix, v.ns(), ch.Name()))
			got, err := c.AppendBroadcast(nil, v.ns(), &b)
			require.NoError(t, err)
			sameMessage(t, &v, got)
			assert.ErrorIs(t, c.DecodeBroadcast(v.Payload, "/another", &b), wire.ErrForeignNamespace)
		})
	}
}

// TestShardedRequests does the same with requests.
func TestShardedRequests(t *testing.T) {
	for _, v := range shardedVectors(t, "request") {
		t.Run(v.Name, func(t *testing.T) {
			c := shardedOf(&v)
			assert.Equal(t, SortRequest, SortOf(v.Payload))
			var r wire.Request
			require.NoError(t, c.DecodeRequest(v.Payload, v.ns(), &r))
			m := v.want(t).(map[string]any)
			data := m["data"].(map[string]any)
			assert.Equal(t, m["uid"], r.Origin)
			id, _ := data["requestId"].(string)
			assert.Equal(t, id, r.ID)
			if opts, ok := data["opts"].(map[string]any); ok {
				assert.Equal(t, namesOf(opts, "rooms"), append([]string{}, r.Rooms...))
				assert.Equal(t, namesOf(opts, "except"), append([]string{}, r.Except...))
			}
			assert.Equal(t, map[float64]wire.Op{
				3: wire.OpBroadcast, 4: wire.OpJoin, 5: wire.OpLeave, 6: wire.OpDisconnect, 7: wire.OpMembers, 9: wire.OpEvent,
			}[m["type"].(float64)], r.Op)
			got, err := c.AppendRequest(nil, v.ns(), &r)
			require.NoError(t, err)
			if r.Op == wire.OpEvent { // whose keys are in the order of captures; binary data is JSON
				if v.Kind == "json" {
					assert.Equal(t, decodeTree(t, v.Payload), decodeTree(t, got))
				}
				return
			}
			sameMessage(t, &v, got)
		})
	}
}

// TestShardedResponses reads every captured response.
func TestShardedResponses(t *testing.T) {
	for _, v := range shardedVectors(t, "response") {
		t.Run(v.Name, func(t *testing.T) {
			c := shardedOf(&v)
			assert.Equal(t, SortResponse, SortOf(v.Payload))
			var r wire.Response
			require.NoError(t, c.DecodeResponse(v.Payload, v.ns(), &r))
			m := v.want(t).(map[string]any)
			data := m["data"].(map[string]any)
			assert.Equal(t, data["requestId"], r.RequestID)
			assert.Empty(t, r.Node, "a Node.js server")
			switch m["type"].(float64) {
			case 8:
				list := data["sockets"].([]any)
				require.Len(t, r.Members, len(list))
				for i, s := range list {
					assert.Equal(t, s.(map[string]any)["id"], r.Members[i].ID)
					assert.Equal(t, namesOf(s.(map[string]any), "rooms"), r.Members[i].Rooms)
					for _, room := range r.Members[i].Rooms {
						assert.Contains(t, r.Rooms, room)
					}
				}
				assert.NotNil(t, r.Rooms)
			case 10:
				var x any
				require.NoError(t, json.Unmarshal(r.Payload, &x))
				if v.Kind == "json" {
					assert.Equal(t, plain(data["packet"]), plain(x))
				}
			case 11:
				assert.EqualValues(t, data["clientCount"], r.Count)
			case 12:
				assert.True(t, r.Ack)
				assert.Equal(t, plain(data["packet"]), byUs(t, r.Payload))
			}
		})
	}
}

// TestShardedRoundTrip: what a Crossroom node sends to another one arrives as it was.
func TestShardedRoundTrip(t *testing.T) {
	c := New(Options{Mode: ShardDynamic})
	for _, q := range []wire.Request{
		{Op: wire.OpMembers, Rooms: []string{"a", "42"}, Except: []string{"b"}},
		{Op: wire.OpMembers, Detail: true, Header: wire.Header{"traceparent": "00-1", "other": "x"}},
		{Op: wire.OpRooms},
		{Op: wire.OpRooms, Page: 7, After: "a"},
		{Op: wire.OpMembers, Detail: true, Page: 7},
		{Op: wire.OpJoin, Rooms: []string{"a"}, Targets: []string{"b", "c"}},
		{Op: wire.OpLeave, ByID: true, Member: "m", Targets: []string{"b"}},
		{Op: wire.OpDisconnect, ByID: true, Member: "m", Close: true},
		{Op: wire.OpCustom, Payload: []byte(`{"a":1}`)},
		{Op: wire.OpEvent, Payload: []byte(`["e",1]`)},
		{Op: wire.OpEvent, Payload: []byte(`["e",1]`), NoReply: true},
		{Op: wire.OpBroadcast, Payload: []byte("\x91\xa1e"), Timeout: time.Second, Rooms: []string{"a"}},
		{Op: wire.OpBroadcast, Payload: []byte("\x92\xa1e\xc4\x01x"), Timeout: time.Second, Flags: wire.Volatile},
	} {
		q.ID, q.Origin, q.Native = "id", "n~1", true
		out, err := c.AppendRequest(nil, "/n", &q)
		require.NoError(t, err, "%+v", q)
		assert.Equal(t, SortRequest, SortOf(out), "%s", out)
		var got wire.Request
		require.NoError(t, c.DecodeRequest(out, "/n", &got), "%s", out)
		got.Form = q.Form
		if q.NoReply {
			q.ID = ""
		}
		for _, r := range []*wire.Request{&q, &got} {
			r.Rooms, r.Except, r.Targets = append([]string{}, r.Rooms...), append([]string{}, r.Except...), append([]string{}, r.Targets...)
		}
		assert.Equal(t, q, got, "%s", out)
		for _, r := range []wire.Response{
			{NotFound: true}, {Err: "no", Busy: true}, {Count: 3}, {Rooms: []string{"r"}, Members: []wire.MemberInfo{{ID: "m", Rooms: []string{"r"}}}, More: true},
			{Payload: []byte("[1]")}, {Rest: true}, {Ask: true, Payload: []byte(`{"type":1}`)},
		} {
			r.Request, r.Node = &q, "n~2"
			q.ID = "id"
			if q.Op == wire.OpEvent && q.NoReply {
				continue
			}
			out, err := c.AppendResponse(nil, "/n", &r)
			require.NoError(t, err)
			assert.Equal(t, SortResponse, SortOf(out), "%s", out)
			var back wire.Response
			require.NoError(t, c.DecodeResponse(out, "/n", &back), "%s", out)
			assert.Equal(t, "n~2", back.Node)
			assert.Equal(t, r.NotFound, back.NotFound)
			assert.Equal(t, r.Err, back.Err)
			assert.Equal(t, r.Busy, back.Busy)
			assert.Equal(t, r.More, back.More)
			assert.Equal(t, r.Rest, back.Rest)
			if assert.Equal(t, r.Ask, back.Ask); r.Ask {
				assert.Equal(t, string(r.Payload), string(back.Payload))
				continue
			}
			assert.Equal(t, r.Count, back.Count)
			if q.Op == wire.OpMembers && r.Members != nil {
				assert.Equal(t, "m", back.Members[0].ID)
			}
			if q.Op == wire.OpRooms && r.Rooms != nil {
				assert.Equal(t, r.Rooms, back.Rooms)
			}
			if q.Op == wire.OpCustom || q.Op == wire.OpEvent {
				assert.Equal(t, string(r.Payload), string(back.Payload))
			}
		}
	}
}

// TestShardedBadInput: nothing panics, and every defect is an error.
func TestShardedBadInput(t *testing.T) {
	c := New(Options{Mode: ShardDynamic})
	for _, text := range []string{
		"", "{", "{}", "null", "[]", "\xc0", "\x80", `{"type":3}`, `{"type":3,"data":null}`, `{"type":3,"data":{}}`, `{"type":3,"data":{"packet":{"type":2,"data":["a"]}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":[]},"opts":{}}}`, `{"type":3,"data":{"packet":{"type":3,"data":["a"]},"opts":{}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":["disconnect"]},"opts":{}}}`, `{"type":8,"data":{}}`, `{"type":8,"data":{"requestId":1}}`, `{"type":12,"data":{"requestId":""}}`,
		`{"type":7}`, `{"type":7,"data":{}}`, `{"type":5,"data":{"opts":{},"rooms":"a"}}`, `{"type":9,"data":{"packet":[]}}`, `{"type":99,"data":{}}`, `{"type":"x","data":{}}`,
	} {
		payload := []byte(text)
		SortOf(payload)
		var b wire.Broadcast
		var r wire.Request
		var a wire.Response
		assert.Error(t, c.DecodeBroadcast(payload, "/", &b), text)
		if !strings.Contains(text, `"packet":{"type":2,"data":["a"]}`) {
			assert.Error(t, c.DecodeRequest(payload, "/", &r), text)
		}
		assert.Error(t, c.DecodeResponse(payload, "/", &a), text)
	}
	for _, typ := range []string{"1", "2", "13"} {
		var r wire.Request
		assert.ErrorIs(t, c.DecodeRequest([]byte(`{"type":`+typ+`,"uid":"x","nsp":"/"}`), "/", &r), wire.ErrIgnored)
	}
}
