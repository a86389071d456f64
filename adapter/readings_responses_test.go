package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// The call for each response, and the other servers' part of its result as text.
var asks = map[string]struct {
	dialect adapter.Dialect
	call    func(ctx context.Context, ns *adapter.Namespace) (any, error)
	// same converts the result of a Node.js server to that of call.
	same func(v any) any
}{
	"clients": {adapter.V5, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		got, err := ns.All().Clients(ctx)
		for name := range readingRooms { // with the rooms of the real server
			got.IDs = append(got.IDs, "id-"+name)
		}
		slices.Sort(got.IDs)
		return slices.Compact(got.IDs), err
	}, func(v any) any { return textsOf(v.([]any)) }},
	"clientRooms": {adapter.V5, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		return ns.ClientRooms(ctx, "elsewhere")
	}, func(v any) any {
		list, _ := v.([]any)
		return textsOf(list)
	}},
	"allRooms5": {adapter.V5, allRooms, func(v any) any { return textsOf(v.([]any)) }},
	"remoteJoin5": {adapter.V5, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		return nil, ns.Join(ctx, "elsewhere", "r")
	}, nothing},
	"customRequest": {adapter.V5, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		got, err := ns.CustomRequest(ctx, "q")
		return replyTexts(got), err
	}, func(v any) any { return dataTexts(v.([]any)) }},
	"fetchSockets": {adapter.V6, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		got, err := ns.All().FetchSockets(ctx)
		var list []string
		for _, s := range got.List {
			slices.Sort(s.Rooms)
			list = append(list, fmt.Sprint(s.ID, s.Rooms, string(s.Data)))
		}
		slices.Sort(list)
		return list, err
	}, func(v any) any {
		var list []string
		for _, s := range v.([]any) {
			o := s.(map[string]any)
			if id, _ := o["id"].(string); strings.HasPrefix(id, "id-") {
				continue // its own
			}
			data := ""
			if d, is := o["data"].(map[string]any); !is || d["$"] == nil {
				data = textJSON(o["data"])
			}
			list = append(list, fmt.Sprint(roomTexts([]any{o["id"]})[0], roomTexts(o["rooms"].([]any)), data))
		}
		slices.Sort(list)
		return list
	}},
	"allRooms": {adapter.V6, allRooms, func(v any) any { return roomTexts(v.([]any)) }},
	"serverSideEmit": {adapter.V6, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		got, err := ns.ServerSideEmitWithAck(ctx, "hello")
		return replyTexts(got), err
	}, func(v any) any { return dataTexts(v.([]any)) }},
	"emitWithAck": {adapter.V6, func(ctx context.Context, ns *adapter.Namespace) (any, error) {
		_, err := ns.To("empty").EmitWithAck(ctx, "hello")
		return nil, err
	}, nothing},
}

func hooked(context.Context, *adapter.Namespace, json.RawMessage) (any, error) { return "hooked", nil }

// bare returns the ids in a response. Servers from v6.1 on return sockets without an id for
// bare ids; v6.0 has only ids.
func bare(payload []byte) (list []string) {
	var r struct{ Sockets []any }
	_ = json.Unmarshal(payload, &r)
	for _, s := range r.Sockets {
		if o, is := s.(map[string]any); is {
			rooms, _ := o["rooms"].([]any)
			if id, is := o["id"].(string); is && rooms != nil {
				list = append(list, fmt.Sprint(id, roomTexts(rooms), textJSON(o["data"])))
				continue
			}
			return nil
		}
		ids := roomTexts([]any{s})
		if len(ids) == 0 {
			return nil
		}
		list = append(list, ids[0]+"[]")
	}
	slices.Sort(list)
	return list
}

// withoutID reports whether a server returned sockets without an id. Crossroom drops such a
// response.
func withoutID(v any) bool {
	list, _ := v.([]any)
	return slices.ContainsFunc(list, func(s any) bool {
		o, is := s.(map[string]any)
		id, has := o["id"]
		return is && has && len(roomTexts([]any{id})) == 0
	})
}

func nothing(any) any { return nil }

func allRooms(ctx context.Context, ns *adapter.Namespace) (any, error) {
	got, err := ns.AllRooms(ctx)
	for name, rooms := range readingRooms { // with the rooms of the real server
		got.List = append(append(got.List, rooms...), "id-"+name)
	}
	slices.Sort(got.List)
	return slices.Compact(got.List), err
}

// textsOf returns the text of each element of a list, as in v5.
func textsOf(list []any) (texts []string) {
	for _, v := range list {
		texts = append(texts, scriptText(v))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func replyTexts(r *adapter.Replies) (list []string) {
	if r == nil {
		return nil
	}
	for _, reply := range r.List {
		list = append(list, cmpOr(string(reply.Data), "undefined"))
	}
	return list
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func dataTexts(list []any) (texts []string) {
	for _, v := range list {
		if o, is := v.(map[string]any); is && o["$"] != nil {
			texts = append(texts, "undefined")
			continue
		}
		texts = append(texts, textJSON(v))
	}
	return texts
}

// A peer is heard asking on a namespace's channel of requests, as one that counts.
type peer struct {
	listener
	out *memorybroker.Broker
}

// TestReadResponses compares a node with the real servers that receive responses. If their
// call keeps waiting or fails, the node does not count the response: its call returns at the
// deadline and lists the missing node.
func TestReadResponses(t *testing.T) {
	list, outcomes := readReadings(t, "response")
	require.GreaterOrEqual(t, len(list), 300, "readings")
	for i := range list {
		r := &list[i]
		// Later requests do not wait for a server that missed a deadline: each has a fleet of its own.
		t.Run(r.Name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ask := asks[r.Ask]
				bus := memorybroker.NewBus(nil)
				n := newNode(t, bus, adapter.Options{Dialect: ask.dialect, RequestsTimeout: time.Second, Heartbeat: time.Second, CustomHook: hooked})
				ns, err := n.Of(t.Context(), "/")
				ok(t, err)
				p := &peer{out: bus.Broker()}
				filters := []broker.Filter{broker.Exactly(broker.SocketIO.Requests("/"))}
				if ask.dialect == adapter.V6 {
					filters = append(filters, broker.Exactly(broker.SocketIO.NodeResponses("/", "peer")))
				}
				_, err = p.out.Subscribe(t.Context(), p, filters...)
				ok(t, err)
				defer func() { ok(t, p.out.Close(context.Background())) }()
				p.readResponse(t, ns, r, r.followed(outcomes).Result, ask.call, ask.same)
			})
		})
	}
}

// request returns the request that waits for a response.
func (p *peer) request(t *testing.T) (typ any, id string) {
	t.Helper()
	synctest.Wait()
	requests := p.take()
	require.NotEmpty(t, requests, "no request")
	asked := []byte(requests[len(requests)-1])
	if asked[0] != '{' {
		text, err := msgpack.AppendJSON(nil, asked, nil)
		ok(t, err)
		asked = text
	}
	var q map[string]any
	ok(t, json.Unmarshal(asked, &q))
	id, is := q["requestId"].(string)
	if !is {
		id = q["requestid"].(string)
	}
	return q["type"], id
}

func (p *peer) respond(t *testing.T, payload string) {
	t.Helper()
	ok(t, p.out.Publish(t.Context(), broker.SocketIO.Responses("/"), []byte(payload)))
	ok(t, p.out.Flush(t.Context()))
	synctest.Wait()
}

func (p *peer) readResponse(t *testing.T, ns *adapter.Namespace, r *reading, result any, call func(context.Context, *adapter.Namespace) (any, error), same func(any) any) {
	t.Helper()
	type answer struct {
		v   any
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := call(t.Context(), ns)
		done <- answer{v, err}
	}()
	typ, id := p.request(t)
	first := map[string]float64{"clientRooms": 1, "remoteJoin5": 3, "customRequest": 5}[r.Ask]
	for first > 0 && typ != first {
		// Nodes first query for the socket, and whether all servers are v5.
		p.respond(t, `{"requestid":"`+id+`","clients":["elsewhere"],"rooms":[]}`)
		typ, id = p.request(t)
	}
	payload := strings.ReplaceAll(string(r.Payload), "\xa6REQ-ID", string(msgpack.AppendString(nil, id)))
	p.respond(t, strings.ReplaceAll(payload, "REQ-ID", id))
	value, _ := result.(map[string]any)
	v, returned := value["value"]
	var want any
	switch ids := bare(r.Payload); {
	case !returned:
	case withoutID(v) && ids != nil:
		want = ids
	case withoutID(v):
		returned = false
	case r.Ask == "clientRooms":
		_, returned = v.([]any) // anything else is not a response
		fallthrough
	default:
		if returned {
			want = same(v)
		}
	}
	select {
	case got := <-done:
		none, _ := v.([]any)
		switch {
		case !returned:
			t.Errorf("%s: %q: returned %v, %v; want %v", r.Name, r.Payload, got.v, got.err, result)
		case r.Ask == "clientRooms" && len(none) == 0 && errors.Is(got.err, backplane.ErrNoSuchMember):
			// A socket is in its own room at least.
		case got.err != nil || fmt.Sprint(got.v) != fmt.Sprint(want):
			t.Errorf("%s: %q: returned %v, %v; want %v", r.Name, r.Payload, got.v, got.err, want)
		}
	default:
		assert.False(t, returned, "%s: %q: waits", r.Name, r.Payload)
		got := <-done // at its deadline
		assert.Error(t, got.err, r.Name)
		assert.NotErrorIs(t, got.err, context.Canceled, r.Name)
	}
}
