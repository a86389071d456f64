package adapter_test

import (
	"bytes"
	"fmt"
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

func keyring(t testing.TB) *backplane.Keyring {
	t.Helper()
	k, err := backplane.NewKeyring(bytes.Repeat([]byte("k"), 32))
	require.NoError(t, err)
	return k
}

// event returns the broadcast that a Node.js server with a uid sends, with more keys in opts.
func event(uid, name string, more ...any) []byte {
	m := msgpack.AppendArrayLen(nil, 3)
	m = msgpack.AppendString(m, uid)
	m = msgpack.AppendMapLen(m, 3)
	m = msgpack.AppendInt(msgpack.AppendString(m, "type"), 2)
	m = msgpack.AppendString(msgpack.AppendArrayLen(msgpack.AppendString(m, "data"), 1), name)
	m = msgpack.AppendString(msgpack.AppendString(m, "nsp"), chat)
	m = msgpack.AppendMapLen(m, 3+len(more)/2)
	m = msgpack.AppendArrayLen(msgpack.AppendString(m, "rooms"), 0)
	m = msgpack.AppendArrayLen(msgpack.AppendString(m, "except"), 0)
	m = msgpack.AppendMapLen(msgpack.AppendString(m, "flags"), 0)
	for i := 0; i < len(more); i += 2 {
		m = msgpack.AppendString(m, more[i].(string))
		m = msgpack.AppendMapLen(m, 1)
		for k, v := range more[i+1].(map[string]string) {
			m = msgpack.AppendString(msgpack.AppendString(m, k), v)
		}
	}
	return m
}

// What a server with keys accepts of Node.js servers is what Options.Unsigned says, and nothing
// that only a Crossroom node sends.
func TestUnsignedOperations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, c := range []struct {
			name     string
			kind     backplane.Operations
			message  string
			requests bool
		}{
			{"broadcast", backplane.Broadcasts, string(event("abcdef", "marked")), false},
			{"join", backplane.Joins, `{"uid":"abcdef","type":2,"opts":{"rooms":[],"except":[]},"rooms":["marked"]}`, true},
			{"leave", backplane.Leaves, `{"uid":"abcdef","type":3,"opts":{"rooms":[],"except":[]},"rooms":["here"]}`, true},
			{"disconnect", backplane.Disconnects, `{"uid":"abcdef","type":4,"opts":{"rooms":[],"except":[]},"close":true}`, true},
			{"disconnect of v5", backplane.Disconnects, `{"requestid":"1","type":6,"sid":"s","close":true}`, true},
			{"list", backplane.Queries, `{"uid":"abcdef","requestId":"1","type":5,"opts":{"rooms":[],"except":[]}}`, true},
			{"rooms", backplane.Queries, `{"uid":"abcdef","requestId":"1","type":1}`, true},
			{"event", backplane.Events, `{"uid":"abcdef","type":6,"data":["marked"]}`, true},
			{"broadcast with acknowledgements", backplane.AckBroadcasts, `{"uid":"abcdef","requestId":"1","type":7,"packet":{"type":2,"data":["marked"],"nsp":"/chat"},"opts":{"rooms":[],"except":[],"flags":{}}}`, true},
		} {
			for _, o := range []struct {
				adapter.Options
				accepted bool
			}{
				{adapter.Options{}, true}, // no keys
				{adapter.Options{Keys: keyring(t)}, false},
				{adapter.Options{Keys: keyring(t), Unsigned: backplane.AllOperations &^ c.kind}, false},
				{adapter.Options{Keys: keyring(t), Unsigned: c.kind}, true},
				{adapter.Options{Keys: keyring(t), UnsignedNodes: true}, true},
			} {
				bus := memorybroker.NewBus(nil)
				n := newNode(t, bus, o.Options)
				outside := bus.Broker()
				ch := broker.SocketIO.Broadcast(chat)
				if c.requests {
					ch = broker.SocketIO.Requests(chat)
				}
				require.NoError(t, outside.Publish(t.Context(), ch, []byte(c.message)))
				synctest.Wait()
				refused := n.Stats().Links[0].Unverified
				assert.Equal(t, o.accepted, refused == 0, "%s, unsigned %v, nodes %v", c.name, o.Unsigned, o.UnsignedNodes)
				if !o.accepted {
					require.Len(t, n.errors.all(), 1)
					var e *backplane.MessageError
					require.ErrorAs(t, n.errors.all()[0], &e)
					assert.ErrorIs(t, e, backplane.ErrUnsigned)
					assert.Equal(t, ch, e.Channel)
					assert.True(t, strings.HasPrefix(e.Error(), "adapter: "), e.Error())
				}
				require.NoError(t, outside.Close(t.Context()))
			}
		}
	})
}

// Unsigned messages that say they are of a Crossroom node are forged, whatever is accepted of
// Node.js servers.
func TestUnsignedMessagesOfNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{Keys: keyring(t), Unsigned: backplane.AllOperations})
		outside := nodes[1].broker // the right broker, without its node
		s := nodes[0].add(t, "s")
		uid := nodes[1].UID()
		for _, m := range []struct {
			ch      broker.Channel
			message string
		}{
			{broker.SocketIO.Broadcast(chat), string(event(uid, "forged"))},
			{broker.SocketIO.Broadcast(chat), string(event(nodes[0].UID(), "forged"))},
			{broker.SocketIO.Broadcast(chat), string(event("abcdef", "forged", "crossroom", map[string]string{"relay": "x:1"}))},
			{broker.SocketIO.Requests(chat), fmt.Sprintf(`{"uid":%q,"type":4,"opts":{"rooms":[],"except":[]},"close":true}`, uid)},
			{broker.SocketIO.Requests(chat), `{"uid":"abcdef","type":4,"opts":{"rooms":[],"except":[]},"close":true,"crossroom":{"n":1}}`},
			{broker.SocketIO.Responses(chat), fmt.Sprintf(`{"requestId":"x","sockets":[],"crossroom":{"n":1,"node":%q}}`, uid)},
			{broker.SocketIO.NodeResponses(chat, nodes[0].UID()), fmt.Sprintf(`{"requestId":"x","sockets":[],"crossroom":{"n":1,"node":%q}}`, uid)},
		} {
			before := nodes[0].Stats().Links[0].Unverified
			require.NoError(t, outside.Publish(t.Context(), m.ch, []byte(m.message)))
			synctest.Wait()
			assert.Equal(t, before+1, nodes[0].Stats().Links[0].Unverified, "%.200q", m.message)
		}
		assert.Empty(t, s.packets)
		assert.Empty(t, s.ended)
		list, err := nodes[0].ns.All().FetchSockets(t.Context())
		require.NoError(t, err)
		assert.Len(t, list.List, 1)
	})
}

// A bridge signs what it passes on: behind it nothing needs to be accepted from Node.js servers.
func TestBridgeSigns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		keys, g := keyring(t), newGenerations()
		opts := adapter.Options{
			Keys: keys, Unsigned: backplane.Broadcasts, Bridge: &adapter.Bridge{}, Heartbeat: time.Second, PeerTimeout: 3500 * time.Millisecond,
		}
		both := [2]*node{g.onBoth(t, opts), g.onBoth(t, opts)}
		behind := newNode(t, g.v5, adapter.Options{Dialect: adapter.V5, Keys: keys, Heartbeat: time.Second})
		heard := behind.add(t, "s")
		time.Sleep(4 * time.Second)
		outside := g.v6.Broker()
		for i := range 20 {
			require.NoError(t, outside.Publish(t.Context(), broker.SocketIO.Broadcast(chat), event("abcdef", fmt.Sprint("node ", i))))
		}
		require.NoError(t, both[0].ns.Emit(t.Context(), "of both"))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		got := map[string]int{}
		for len(heard.packets) > 0 {
			got[(<-heard.packets).Event()]++
		}
		assert.Len(t, got, 21)
		for name, n := range got {
			assert.Equal(t, 1, n, name)
		}
		for _, n := range []*node{both[0], both[1], behind} {
			for _, st := range n.Stats().Links {
				assert.Zero(t, st.Unverified)
			}
			assert.Empty(t, n.errors.all())
		}
		require.NoError(t, outside.Close(t.Context()))
	})
}
