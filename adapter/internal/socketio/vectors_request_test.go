package socketio

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// wantRequest returns the meaning of a captured request.
func wantRequest(t *testing.T, v *vector) wire.Request {
	m := v.want(t).(map[string]any)
	text := func(key string) string { s, _ := m[key].(string); return s }
	r := wire.Request{ID: text("requestId"), Origin: text("uid"), Rooms: []string{}, Except: []string{}, Targets: []string{}}
	typ := m["type"].(float64)
	if m["requestid"] != nil {
		r.ID, r.Form = text("requestid"), formV5
		r.Op = []wire.Op{
			wire.OpMembers, wire.OpRoomsOf, wire.OpRooms, wire.OpJoin, wire.OpLeave, wire.OpCustom, wire.OpDisconnect,
		}[int(typ)]
	} else {
		r.Op = []wire.Op{
			wire.OpMembers, wire.OpRooms, wire.OpJoin, wire.OpLeave, wire.OpDisconnect, wire.OpMembers, wire.OpEvent, wire.OpBroadcast,
		}[int(typ)]
		if r.Origin == "" {
			r.Form = formShared
		}
		r.Detail = typ == 5
	}
	if typ == 0 {
		r.Form |= formIDs
	}
	if m["sid"] != nil {
		r.ByID, r.Member = true, text("sid")
	}
	if m["room"] != nil {
		r.Targets = []string{text("room")}
	}
	r.Close = m["close"] == true
	if opts, ok := m["opts"].(map[string]any); ok {
		r.Rooms, r.Except = namesOf(opts, "rooms"), namesOf(opts, "except")
		if m["rooms"] != nil {
			r.Targets = namesOf(m, "rooms")
		}
		if flags, ok := opts["flags"].(map[string]any); ok {
			r.Flags = flagsOf(flags)
			r.Timeout = time.Duration(flags["timeout"].(float64)) * time.Millisecond
		}
	} else if m["rooms"] != nil {
		r.Rooms = namesOf(m, "rooms")
	}
	r.NoReply = r.Op == wire.OpEvent && r.ID == ""
	return r
}

// payloadOf returns the request's payload as a tree.
func payloadOf(t *testing.T, r *wire.Request) any {
	if r.Op == wire.OpBroadcast {
		return byUs(t, r.Payload)
	}
	var x any
	if r.Payload != nil {
		require.NoError(t, json.Unmarshal(r.Payload, &x))
	}
	return x
}

func wantPayload(m map[string]any) any {
	if packet, ok := m["packet"].(map[string]any); ok {
		return packet["data"]
	}
	return m["data"]
}

func TestVectorRequests(t *testing.T) {
	checked, exact := 0, 0
	for _, v := range classic(t, "request") {
		var got wire.Request
		// A codec reads all dialects, whichever it writes.
		for _, d := range []Dialect{V5, V6} {
			require.NoError(t, newCodec(d).DecodeRequest(v.Payload, v.ns(), &got), v.Name)
		}
		want, m := wantRequest(t, &v), v.want(t).(map[string]any)
		assert.Equal(t, wantPayload(m), payloadOf(t, &got), "%s: payload", v.Name)
		payload := got.Payload
		got.Payload = nil
		got.Rooms, got.Except, got.Targets = append([]string{}, got.Rooms...), append([]string{}, got.Except...), append([]string{}, got.Targets...)
		assert.Equal(t, want, got, v.Name)
		got.Payload = payload
		if sendRequest(t, &v, &got) {
			exact++
		}
		checked++
	}
	assert.Equal(t, 52, checked)
	assert.Equal(t, 43, exact)
}

// sendRequest encodes the request in the dialect in which it was captured. It reports
// whether the bytes had to equal the captured ones: all except requests for which Crossroom
// uses another form, and 7, which Crossroom sends as JSON unless it holds binary data.
func sendRequest(t *testing.T, v *vector, r *wire.Request) (exact bool) {
	c := newCodec(V6)
	if v.Dialect == "v5" {
		c = newCodec(V5)
	}
	got, err := c.AppendRequest([]byte("x"), v.ns(), r)
	require.NoError(t, err, v.Name)
	require.EqualValues(t, 'x', got[0], v.Name)
	got = got[1:]
	if r.Op == wire.OpBroadcast {
		want := v.want(t).(map[string]any)
		delete(want["opts"].(map[string]any)["flags"].(map[string]any), "expectSingleResponse")
		assert.EqualValues(t, '{', got[0], "%s:\n got %s\nwant", v.Name, got)
		assert.Equal(t, any(want), byUs(t, got), "%s:\n got %s\nwant", v.Name, got)
		return false
	}
	assert.Equal(t, v.Payload, got, v.Name)
	return true
}

// The codec decodes each captured response, and encodes it for its request in the same form
// and on the same channel.
func TestVectorResponses(t *testing.T) {
	requests := map[string]vector{}
	for _, v := range classic(t, "request") {
		if _, ok := requests[v.Group]; !ok || strings.Contains(v.Name, "with-ack/3-") {
			requests[v.Group] = v
		}
	}
	checked, exact := 0, 0
	for _, v := range classic(t, "response") {
		var q wire.Request
		ask := requests[v.Group]
		m := v.want(t).(map[string]any)
		if strings.HasPrefix(v.Name, "v8/remoteSocket-emit-with-ack/2-") {
			ask = first(t, v.Group)
		}
		require.NoError(t, newCodec(V6).DecodeRequest(ask.Payload, v.ns(), &q), ask.Name)
		var r wire.Response
		require.NoError(t, newCodec(V6).DecodeResponse(v.Payload, v.ns(), &r), v.Name)
		assert.Equal(t, q.ID, r.RequestID, v.Name)
		assert.Empty(t, r.Node, v.Name)
		assert.False(t, r.NotFound, v.Name)
		assert.Empty(t, r.Err, v.Name)
		checkResponse(t, &v, &r, m)
		r.Request = &q
		got, err := newCodec(V5).AppendResponse([]byte("x"), v.ns(), &r)
		require.NoError(t, err, v.Name)
		got = got[1:]
		if sameBytes(m) {
			exact++
			assert.Equal(t, v.Payload, got, v.Name)
		} else if !reflect.DeepEqual(byUs(t, got), responseAsText(m)) {
			t.Errorf("%s:\n got %v\nwant %v", v.Name, byUs(t, got), responseAsText(m))
		}
		checkChannel(t, &v, &r)
		checked++
	}
	assert.Equal(t, 52, checked)
	assert.Equal(t, 42, exact)
}

func first(t *testing.T, group string) vector {
	for _, v := range classic(t, "request") {
		if v.Group == group {
			return v
		}
	}
	t.Fatal("no request in " + group)
	return vector{}
}

func checkResponse(t *testing.T, v *vector, r *wire.Response, m map[string]any) {
	assert.Equal(t, namesOf(m, "rooms"), append([]string{}, r.Rooms...), "%s: rooms", v.Name)
	if n, ok := m["clientCount"]; ok && float64(r.Count) != n {
		t.Errorf("%s: count %d", v.Name, r.Count)
	}
	assert.Equal(t, m["type"] == 9.0, r.Ack, "%s: ack", v.Name)
	var payload any
	if r.Ack && r.Payload != nil {
		payload = byUs(t, r.Payload)
	} else if r.Payload != nil {
		assert.NoError(t, json.Unmarshal(r.Payload, &payload), v.Name)
	}
	if want := m["data"]; r.Ack && !reflect.DeepEqual(payload, m["packet"]) || !r.Ack && !reflect.DeepEqual(payload, want) {
		t.Errorf("%s: payload %v", v.Name, payload)
	}
	list, _ := m["sockets"].([]any)
	if m["clients"] != nil {
		list = m["clients"].([]any)
	}
	if len(list) != len(r.Members) {
		t.Errorf("%s: %d members", v.Name, len(r.Members))
		return
	}
	for i, info := range r.Members {
		object, ok := list[i].(map[string]any)
		if !ok {
			assert.Equal(t, list[i], info.ID, v.Name)
			assert.Nil(t, info.Rooms, v.Name)
			assert.Nil(t, info.Data, v.Name)
			continue
		}
		want := map[string]any{"handshake": object["handshake"], "data": object["data"]}
		assert.Equal(t, object["id"], info.ID, "%s: %+v", v.Name, info)
		assert.Equal(t, namesOf(object, "rooms"), append([]string{}, info.Rooms...), "%s: %+v", v.Name, info)
		assert.Equal(t, any(want), byUs(t, info.Data), "%s: %+v", v.Name, info)
	}
}

// sameBytes reports whether Crossroom sends this response in the same bytes: all except
// those with undefined, and those with rooms that are numbers, which become text.
func sameBytes(m map[string]any) bool {
	if packet, ok := m["packet"]; ok && packet == nil {
		return false
	}
	lists := []any{m["rooms"]}
	if sockets, ok := m["sockets"].([]any); ok {
		for _, s := range sockets {
			if object, ok := s.(map[string]any); ok {
				lists = append(lists, object["rooms"])
			}
		}
	}
	for _, l := range lists {
		list, _ := l.([]any)
		if slices.ContainsFunc(list, func(e any) bool { _, number := e.(float64); return number }) {
			return false
		}
	}
	return true
}

// responseAsText returns the response with numbers as text and without undefined. The one
// response in which a client sent null keeps the null.
func responseAsText(m map[string]any) any {
	if m["packet"] == nil && m["requestId"] != "LDkwYx" {
		delete(m, "packet")
	}
	text := func(m map[string]any) {
		if list, ok := m["rooms"].([]any); ok {
			for i, name := range namesOf(m, "rooms") {
				list[i] = name
			}
		}
	}
	text(m)
	if sockets, ok := m["sockets"].([]any); ok {
		for _, s := range sockets {
			text(s.(map[string]any))
		}
	}
	return m
}

// checkChannel checks the channel of a response. Node.js servers use the shared channel
// unless configured otherwise. Crossroom uses the requester's own channel if it has one,
// because each requester subscribes to it.
func checkChannel(t *testing.T, v *vector, r *wire.Response) {
	q := r.Request
	want := broker.SocketIO.NodeResponses(v.ns(), q.Origin)
	if v.Dialect == "v5" || v.Dialect == "v6" || q.Op == wire.OpEvent {
		want = broker.SocketIO.Responses(v.ns())
	}
	if got := newCodec(V6).ResponseChannel(v.ns(), r); got != want {
		t.Errorf("%s: responded on %v, want %v", v.Name, got, want)
	}
	if strings.HasPrefix(v.Name, "v8/specific") && !strings.HasSuffix(v.Channel, "#"+want.Name()+"#") && want.Name() != "" {
		t.Errorf("%s: captured on %s", v.Name, v.Channel)
	}
}
