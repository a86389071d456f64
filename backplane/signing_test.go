package backplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// secret returns the nth of the secrets of a test.
func secret(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 32) }

func keyring(t *testing.T, secrets ...int) *backplane.Keyring {
	t.Helper()
	list := make([][]byte, len(secrets))
	for i, n := range secrets {
		list[i] = secret(n)
	}
	k, err := backplane.NewKeyring(list...)
	require.NoError(t, err)
	return k
}

// because returns the reported *MessageErrors with a reason.
func because(list []error, reason error) (found []*backplane.MessageError) {
	for _, err := range list {
		if e, ok := errors.AsType[*backplane.MessageError](err); ok && errors.Is(e, reason) {
			found = append(found, e)
		}
	}
	return found
}

// With keys, a goodbye in the name of a node, and a copy of any of its frames, have no effect.
func TestForgedGoodbyesWithKeys(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, kind.wrap, backplane.Options{Keys: keyring(t, 1)})
			w := f.wire("")
			for range 50 {
				for _, n := range f.nodes[1:] {
					w.control(bye, n.ID(), since(f.nodes[0], n.ID()), 1)
				}
				settle()
				m, err := f.ns[0].Members(t.Context(), backplane.All())
				require.NoError(t, err, kind.name)
				require.Len(t, m.List, 2, kind.name)
				require.ErrorIs(t, f.ns[0].Join(t.Context(), "unknown", "x"), backplane.ErrNoSuchMember)
				assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), kind.name)
				time.Sleep(50 * time.Millisecond)
			}
			assert.EqualValues(t, 100, f.nodes[0].Stats().Unverified)
			list := f.errs[0].take()
			unsigned := because(list, backplane.ErrUnsigned)
			require.GreaterOrEqual(t, len(unsigned), 5, "%v", list)
			assert.LessOrEqual(t, len(unsigned), 7, "four at once, then one a second: %v", list)
			assert.Equal(t, f.nodes[1].ID(), unsigned[0].Sender)
			assert.Greater(t, unsigned[4].More, 30)

			frames := w.saw(broker.KindControl)
			for _, frame := range frames {
				w.send(broker.Control(), frame)
			}
			settle()
			assert.NotEmpty(t, because(f.errs[0].take(), backplane.ErrReplayed))
			assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]))
		})
	}
}

// A raw peer that reads every request cannot respond in a node's name.
func TestForgedResponsesWithKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, nil, backplane.Options{Keys: keyring(t, 1)})
		w := f.wire("")
		_, err := w.b.Subscribe(t.Context(), w, broker.Native.Uncounted(chat))
		require.NoError(t, err)
		var once sync.Once
		w.onRequest(func(r *wire.Request) {
			once.Do(func() {
				for _, n := range f.nodes[1:] {
					w.answer(r, n.ID(), wire.Response{Payload: []byte("forged")})
				}
			})
		})
		r, err := f.ns[0].Request(t.Context(), []byte("who"))
		require.NoError(t, err)
		require.Len(t, r.List, 2)
		for _, v := range r.List {
			assert.NotEqual(t, "forged", string(v.Payload))
		}
		settle() // the request may end before the forged responses are published
		assert.EqualValues(t, 2, f.nodes[0].Stats().Unverified)
	})
}

// A node with another key is reported on both sides, with its name and the names of the keys.
func TestNodeWithAnotherKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{Keys: keyring(t, 1)}, nil)
		f.add(&backplane.Options{Name: "stray", Keys: keyring(t, 2)}, nil)
		time.Sleep(3 * time.Second)
		settle()
		for _, c := range []struct {
			at, of int
			key    string
		}{{0, 2, keyring(t, 2).IDs()[0]}, {2, 0, keyring(t, 1).IDs()[0]}} {
			list := because(f.errs[c.at].take(), backplane.ErrUnknownKey)
			require.NotEmpty(t, list, "node %d", c.at)
			assert.LessOrEqual(t, len(list), 4+3, "four at once, then one a second")
			assert.Contains(t, list[0].Error(), c.key)
			if c.at == 0 {
				assert.Equal(t, f.nodes[c.of].ID(), list[0].Sender)
			}
		}
		_, err := f.ns[0].Members(t.Context(), backplane.All())
		var partial *backplane.PartialError
		require.ErrorAs(t, err, &partial, "the broker counts a node that is not understood")
		f.errs[1].take()
	})
}

// Keys are changed under load, on one node after the other: no message is lost.
func TestKeysAreExchanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size = 3
		f := newFleet(t, 0, backplane.Options{}, nil)
		var rings []*backplane.Keyring
		var sockets []*socket
		for i := range size {
			rings = append(rings, keyring(t, 1))
			f.add(&backplane.Options{Name: fmt.Sprint("n", i), Keys: rings[i]}, answering(i))
			sockets = append(sockets, f.socket(i, fmt.Sprint("s", i)))
		}
		f.meet()
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		sent := make([]int, size)
		for i := range size {
			load.Go(func() {
				for ; ctx.Err() == nil; sent[i]++ {
					assert.NoError(t, f.ns[i].Broadcast(context.Background(), fmt.Appendf(nil, "%d %d", i, sent[i]), backplane.All()))
					if sent[i]%16 == 0 {
						r, err := f.ns[i].Request(context.Background(), []byte("who"))
						assert.NoError(t, err)
						assert.Len(t, r.List, size-1)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for _, step := range [][]int{{1, 2}, {2, 1}, {2}, {2, 3}, {3, 2}, {3}} {
			for _, ring := range rings {
				time.Sleep(10 * time.Millisecond)
				list := make([][]byte, len(step))
				for i, n := range step {
					list[i] = secret(n)
				}
				require.NoError(t, ring.Set(list...))
			}
			time.Sleep(10 * time.Millisecond)
		}
		stop()
		load.Wait()
		settle()
		for i, s := range sockets {
			next := make([]int, size)
			for len(s.got) > 0 {
				var from, n int
				_, err := fmt.Sscanf(string((<-s.got).Payload), "%d %d", &from, &n)
				require.NoError(t, err)
				require.Equal(t, next[from], n, "message of node %d at node %d", from, i)
				next[from]++
			}
			assert.Equal(t, sent, next, "messages at node %d", i)
			assert.Zero(t, f.nodes[i].Stats().Unverified)
			f.errs[i].none(t)
		}
		assert.Greater(t, sent[0], 100)
	})
}

// A fleet begins to sign, and to verify, without a gap: each node is replaced twice.
func TestFleetBeginsToSign(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 0, backplane.Options{}, nil)
			start := func(o backplane.Options) {
				f.addOn(f.bus.Broker(), kind.wrap, &o, answering(len(f.nodes)))
				f.socket(len(f.nodes)-1, fmt.Sprint("s", len(f.nodes)))
			}
			live := []int{0, 1, 2}
			for range live {
				start(backplane.Options{})
			}
			time.Sleep(time.Second)
			for step, o := range []backplane.Options{{UnsignedNodes: true}, {}} {
				for place := range live {
					o.Keys = keyring(t, 1)
					start(o)
					old := live[place]
					live[place] = len(f.nodes) - 1
					require.NoError(t, f.nodes[old].Close(t.Context()))
					time.Sleep(time.Second)
					for _, n := range live {
						m, err := f.ns[n].Members(t.Context(), backplane.All())
						require.NoError(t, err, "%s, step %d, place %d, node %d", kind.name, step, place, n)
						require.Len(t, m.List, len(live))
						r, err := f.ns[n].Request(t.Context(), []byte("who"))
						require.NoError(t, err)
						require.Len(t, r.List, len(live)-1)
					}
				}
			}
			for _, n := range live {
				assert.Zero(t, f.nodes[n].Stats().Unverified)
			}
			for _, l := range f.errs {
				l.none(t)
			}
		})
	}
}

// A node that restarts with the same id signs as another signer.
func TestNodeRestartsWithItsID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{Keys: keyring(t, 1)}, answering)
		s := f.socket(0, "s")
		for i := range 3 {
			f.add(&backplane.Options{ID: "same", Keys: keyring(t, 1)}, answering(i))
			last := len(f.nodes) - 1
			f.broadcast(last, fmt.Sprint("life ", i), backplane.All())
			assert.Equal(t, fmt.Sprint("life ", i), s.next(t))
			require.NoError(t, f.nodes[last].Close(t.Context()))
		}
		f.errs[0].none(t)
		assert.Zero(t, f.nodes[0].Stats().Unverified)
	})
}

// A message that waited in the queue of a broker for longer than MaxMessageAge is refused with ErrStale.
func TestMessageAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{Keys: keyring(t, 1)}, nil)
		w := f.wire("")
		out, err := backplane.NewEmitter(w.b, &backplane.EmitterOptions{Keys: keyring(t, 1)})
		require.NoError(t, err)
		require.NoError(t, w.sub.Close(t.Context()))
		tape := f.wire("") // it delays what it receives
		require.NoError(t, f.nodes[0].Close(t.Context()))
		require.NoError(t, out.Broadcast(t.Context(), chat, []byte("late"), backplane.All()))
		settle()
		late := tape.saw(broker.KindBroadcast)
		require.Len(t, late, 1)
		f.add(&backplane.Options{Keys: keyring(t, 1)}, nil)
		s := f.socket(1, "s")
		time.Sleep(backplane.MaxMessageAge)
		tape.send(broker.Native.Broadcast(chat), late[0])
		settle()
		assert.Empty(t, s.got)
		list := because(f.errs[1].take(), backplane.ErrStale)
		require.Len(t, list, 1)
		assert.Contains(t, list[0].Error(), "2m0s ago")
	})
}

func TestSigningOptions(t *testing.T) {
	bus := (&fleet{bus: newFleet(t, 0, backplane.Options{}, nil).bus}).bus
	b := bus.Broker()
	defer b.Close(context.Background())
	for _, o := range []backplane.Options{
		{Keys: new(backplane.Keyring)}, {Unsigned: backplane.Broadcasts}, {UnsignedNodes: true},
		{Keys: keyring(t, 1), Unsigned: backplane.AllOperations + 1},
	} {
		_, err := backplane.New(b, &o)
		var option *backplane.OptionError
		require.ErrorAs(t, err, &option, "%+v", o)
	}
	_, err := backplane.NewEmitter(b, &backplane.EmitterOptions{Keys: new(backplane.Keyring)})
	require.Error(t, err)
	for _, bad := range [][][]byte{nil, {secret(1)[1:]}, {secret(1), secret(1)}} {
		_, err := backplane.NewKeyring(bad...)
		var option *backplane.OptionError
		require.ErrorAs(t, err, &option)
		assert.Equal(t, "Keys", option.Option)
	}
	k := keyring(t, 7, 8)
	require.Error(t, k.Set())
	assert.Equal(t, keyring(t, 7, 8).IDs(), k.IDs(), "a bad Set changes nothing")
	o := backplane.Options{Keys: k, Unsigned: backplane.Queries | backplane.Responses}
	for _, text := range []string{fmt.Sprintf("%v", o), fmt.Sprintf("%+v", o), fmt.Sprintf("%#v", o), fmt.Sprint(k)} {
		assert.NotContains(t, text, string(secret(7)))
		assert.NotContains(t, text, "7, 7, 7")
	}
	assert.Equal(t, "queries,responses", o.Unsigned.String())
	assert.Equal(t, "none", backplane.Operations(0).String())
	assert.Len(t, strings.Split(backplane.AllOperations.String(), ","), 9)
	assert.True(t, slices.Contains(strings.Split((backplane.AllOperations+1).String(), ","), "unknown"))
	n, err := backplane.New(b, &backplane.Options{Keys: k})
	require.NoError(t, err)
	assert.Same(t, b, n.Broker(), "the broker that the caller gave")
}
