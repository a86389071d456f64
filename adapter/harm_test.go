package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// shared is a broker that Node.js servers can use, too.
type shared struct{ broker.Broker }

func (b shared) Capabilities() broker.Capabilities {
	c := b.Broker.Capabilities()
	c.OnlyCrossroom = false
	return c
}

type profile struct {
	Name  string
	Proto any `json:"__proto__"`
}

// refusals lists arguments of Emit and the path in the error, which is empty if there is no
// error.
var refusals = []struct {
	args []any
	path string
}{
	{[]any{map[string]any{"__proto__": time.Now()}}, "args[0].__proto__"},
	{[]any{map[string]any{"__proto__": []byte{1}}}, "args[0].__proto__"},
	{[]any{map[string]any{"__proto__": 1}}, "args[0].__proto__"},
	{[]any{1, map[string]any{"user": map[string]any{"__proto__": nil}}}, "args[1].user.__proto__"},
	{[]any{[]any{0, map[string]int{"a b": 1, "__proto__": 1}}}, "args[0][1].__proto__"},
	{[]any{map[string]any{"a b": &profile{}}}, `args[0]["a b"].__proto__`},
	{[]any{json.RawMessage(`{"x":[{"__proto__":{}}]}`)}, "args[0].x[0].__proto__"},
	{[]any{map[string]any{"hasOwnProperty": 1}, []byte{1}}, "args[0].hasOwnProperty"},
	{[]any{map[string]any{"b": []byte{1}, "o": map[string]any{"hasOwnProperty": nil}}}, "args[0].o.hasOwnProperty"},
	{[]any{[]byte{1}, map[string]any{"_placeholder": true, "num": 0}}, "args[1]._placeholder"},
	{[]any{slices.Repeat([]any{[]byte{1}}, 10), 1, map[string]any{"a": msgpack.Ext{Type: 7, Data: []byte{1, 2}}}}, "args[2].a"},
	{slices.Repeat([]any{map[string]any{"f": []byte{}}}, 11), "args[10].f"},
	{append(slices.Repeat([]any{[]byte{}}, 11), map[string]any{"toString": time.Now()}), "args[10]"},
	{append(slices.Repeat([]any{[]byte{1}}, 10), time.Now(), "x"), ""},
	{slices.Repeat([]any{"text"}, 11), ""},
	{[]any{map[string]any{"hasOwnProperty": 1, "toString": 2, "constructor": 3}}, ""},
	{[]any{map[string]any{"_placeholder": true, "num": 0}}, ""},
	{[]any{map[string]any{"_placeholder": false}, []byte{1}}, ""},
	{[]any{"__proto__", []any{"hasOwnProperty"}, []byte{1}, map[string]any{"toJSON": "x", "proto": "__proto__"}}, ""},
}

// TestHarmRefused checks that content which harms Node.js servers is refused with its
// path, before any socket gets it, if such servers can be on any link, and is sent
// otherwise.
func TestHarmRefused(t *testing.T) {
	for name, harmed := range map[string][]bool{
		"only Crossroom": {false}, "with others": {true},
		"others on the first link": {true, false}, "others on the second link": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			var o adapter.Options
			var brokers []broker.Broker
			for i, others := range harmed {
				b := broker.Broker(bus.Broker())
				if i > 0 {
					b = memorybroker.New(nil)
				}
				if others {
					b = shared{b}
				}
				brokers = append(brokers, b)
			}
			for _, b := range brokers[1:] {
				o.Links = append(o.Links, adapter.Link{Broker: b, Dialect: adapter.V5})
			}
			s, err := adapter.New(brokers[0], &o)
			ok(t, err)
			t.Cleanup(func() { ok(t, s.Close(context.Background())) })
			ns, err := s.Of(t.Context(), "/")
			ok(t, err)
			here := newSocket("here")
			ok(t, ns.Add(t.Context(), here))
			e, err := adapter.NewEmitter(brokers[0], &adapter.EmitterOptions{Namespace: "/elsewhere"}) // no socket here gets it
			ok(t, err)
			others := slices.Contains(harmed, true)
			refused := func(what string, err error, path string, could bool) {
				t.Helper()
				var harm *adapter.HarmError
				switch {
				case path == "" || !could:
					ok(t, err)
				case !errors.As(err, &harm) || harm.Path != path || harm.Reason == "":
					t.Errorf("%s: %v; want a *HarmError at %s", what, err, path)
				}
			}
			for _, c := range refusals {
				refused("Emit", ns.Emit(t.Context(), "x", c.args...), c.path, others)
				assert.Equal(t, c.path == "" || !others, len(here.packets) == 1, "Emit(%v) delivered %d packets here", c.args, len(here.packets))
				for len(here.packets) > 0 {
					<-here.packets
				}
				refused("Emitter", e.Emit(t.Context(), "x", c.args...), c.path, harmed[0])
			}
		})
	}
}

// TestHarmOfEvents checks the event name at which Node.js servers crash when other
// servers emit it.
func TestHarmOfEvents(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	for _, others := range []bool{false, true} {
		b := broker.Broker(bus.Broker())
		if others {
			b = shared{b}
		}
		s, err := adapter.New(b, nil)
		ok(t, err)
		t.Cleanup(func() { ok(t, s.Close(context.Background())) })
		ns, err := s.Of(t.Context(), "/")
		ok(t, err)
		e, err := adapter.NewEmitter(b, nil)
		ok(t, err)
		_, ackErr := ns.ServerSideEmitWithAck(t.Context(), "error", 1)
		for _, err := range []error{ns.ServerSideEmit(t.Context(), "error", 1), e.ServerSideEmit(t.Context(), "error", 1), ackErr} {
			var reserved *backplane.NameError
			assert.Equal(t, others, errors.As(err, &reserved), "ServerSideEmit of error, with others: %v", err)
		}
		ok(t, ns.ServerSideEmit(t.Context(), "errors", 1))
		ok(t, ns.Emit(t.Context(), "error", 1)) // clients accept this event
	}
}

var inheritedNames = []string{
	"__proto__", "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString",
	"toString", "valueOf", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
}

// TestHarmOfNames checks that sockets and rooms with the names of properties of every object
// are refused beside servers of socket.io-redis 5, and that a refused operation has no
// effect.
func TestHarmOfNames(t *testing.T) {
	for _, d := range []adapter.Dialect{adapter.V5, adapter.V6} {
		t.Run(d.String(), func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			open := func() *adapter.Namespace {
				s, err := adapter.New(shared{bus.Broker()}, &adapter.Options{Dialect: d})
				ok(t, err)
				t.Cleanup(func() { ok(t, s.Close(context.Background())) })
				ns, err := s.Of(t.Context(), "/")
				ok(t, err)
				return ns
			}
			here, there := open(), open()
			for _, name := range inheritedNames {
				ok(t, there.Add(t.Context(), newSocket(name)))
			}
			ok(t, there.Add(t.Context(), newSocket("there")))
			ok(t, here.Add(t.Context(), newSocket("here")))
			refused := func(what string, err error, want bool) {
				t.Helper()
				var bad *backplane.NameError
				if want != errors.As(err, &bad) || !want && err != nil {
					t.Errorf("%s: %v; refused: want %v", what, err, want)
				}
			}
			for _, name := range inheritedNames {
				refused("Join "+name, here.Join(t.Context(), "there", "fine", name), d == adapter.V5)
				if rooms := roomsOf(there, "there"); d == adapter.V5 && len(rooms) != 1 {
					t.Errorf("a refused Join put the socket into %v", rooms)
				}
				refused("SocketsJoin "+name, here.All().SocketsJoin(t.Context(), "fine", name), d == adapter.V5)
				if rooms := roomsOf(here, "here"); d == adapter.V5 && len(rooms) != 1 {
					t.Errorf("a refused SocketsJoin put the socket into %v", rooms)
				}
				refused("local SocketsJoin", here.All().Local().SocketsJoin(t.Context(), name), false)
				refused("local Join", here.Join(t.Context(), "here", name), false)
				ok(t, here.Leave(t.Context(), "here", name))

				_, err := here.ClientRooms(t.Context(), name)
				refused("ClientRooms of "+name, err, d == adapter.V5)
				refused(name+" joins", here.Join(t.Context(), name, "fine"), d == adapter.V5)
				refused(name+" leaves", here.Leave(t.Context(), name, "fine"), true)
				refused("Disconnect "+name, here.Disconnect(t.Context(), name, false), true)
				refused("SocketsLeave", here.To(name).SocketsLeave(t.Context(), "fine"), d == adapter.V5)
				refused("Emit", here.To(name).Except(name).Emit(t.Context(), name), false)
			}
		})
	}
}
