package backplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// frames checks the control frames that a raw peer received, without its own.
func frames(t *testing.T, what string, w *rawPeer, want ...[]byte) {
	t.Helper()
	settle()
	got := w.saw(kindControl)
	got = slices.DeleteFunc(got, func(p []byte) bool { return !bytes.HasPrefix(p[3:], []byte("\xa2me")) })
	for i, p := range got {
		_, got[i] = cutTokens(p)
	}
	slices.SortFunc(got, bytes.Compare) // to several nodes they have no order
	slices.SortFunc(want, bytes.Compare)
	assert.True(t, slices.EqualFunc(got, want, bytes.Equal), "%s: frames\n%q, want\n%q", what, got, want)
}

func peerIDs(n *backplane.Node) (ids []string) {
	for _, p := range n.KnownPeers() {
		ids = append(ids, p.ID)
	}
	return ids
}

// The frames of a node on the control channel, to the byte.
func TestControlFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		w := f.wire("wire")
		since := time.Now().UnixNano()
		f.add(&backplane.Options{ID: "me"}, nil)
		n := f.nodes[0]
		greeting := func(number int) []byte { return pack([]any{1, hello, "me", since, 1, spaces(chat), number}) }
		frames(t, "first namespace", w, greeting(1))
		time.Sleep(250 * time.Millisecond)
		frames(t, "no node responds", w, greeting(2), greeting(3), greeting(4))
		time.Sleep(750 * time.Millisecond)
		frames(t, "heartbeat", w, pack([]any{1, beat, "me", since, 1, nil, 5}))
		other, err := n.Namespace(t.Context(), "", nil)
		require.NoError(t, err)
		frames(t, "second namespace", w, pack([]any{1, change, "me", since, 2, spaces(""), 6, 1, []any{}}))
		require.NoError(t, other.Close(t.Context()))
		frames(t, "a namespace is closed", w, pack([]any{1, change, "me", since, 3, []any{}, 7, 2, spaces("")}))
		now := pack([]any{1, full, "me", since, 3, spaces(chat), 0, 0, 1, []any{}})
		w.asks("me", "wire")
		frames(t, "asked", w, pack([]any{1, ask, "me", since, 3, nil, 0, 0, 0}), now) // it does not know the raw peer either
		w.send(broker.Control(), pack([]any{1, ask, "other", 1, 1, nil, 0, 0, 0}))
		settle()
		w.saw(kindControl)
		frames(t, "asked where all hear it", w)
		time.Sleep(20 * time.Millisecond)
		w.control(hello, "wire", 1, 1, chat)
		frames(t, "greeted", w, pack([]any{1, full, "me", since, 3, spaces(chat), 0, 0, 1, []any{}})) // other is a stranger
		w.control(beat, "wire", 1, 1)
		frames(t, "beat of that revision", w)
		w.control(bye, "wire", 1, 1)
		frames(t, "goodbye", w)
		require.NoError(t, n.Close(t.Context()))
		time.Sleep(time.Minute)
		frames(t, "closed", w, pack([]any{1, bye, "me", since, 3, nil, 8}))
	})
}

// The knowledge of a node about another one.
func TestPeers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w := f.wire("wire")
		n := f.nodes[0]
		asked := func() bool {
			settle()
			found := slices.ContainsFunc(w.saw(kindControl), func(p []byte) bool { return p[2] == ask })
			time.Sleep(time.Second / 4) // a node that just got a request gets no second one
			w.saw(kindControl)
			return found
		}
		check := func(what string, wantAsk bool, want ...string) { // its namespaces; nil: not there
			t.Helper()
			assert.Equal(t, wantAsk, asked(), "%s: asked for more", what)
			peers := n.KnownPeers()
			if want == nil {
				assert.Empty(t, peers, what)
				return
			}
			if len(peers) != 1 || peers[0].ID != "wire" {
				t.Errorf("%s: %+v", what, peers)
				return
			}
			assert.ElementsMatch(t, want, peers[0].Namespaces, what)
			if len(want) > 0 {
				assert.Equal(t, []string{"native/1"}, peers[0].Speaks, what)
			}
		}
		settle()
		w.saw(kindControl)

		check("no one", false)
		w.control(beat, "wire", 10, 3)
		check("beat of a stranger", true, []string{}...)
		assert.Len(t, n.KnownPeers(), 1, "a stranger's beat is no sign of life")
		w.control(full, "wire", 10, 3, "/b", "/a")
		check("full", false, "/a", "/b")
		got := n.KnownPeers()[0].Since
		assert.EqualValues(t, 10, got.UnixNano(), "since %v", got)
		w.control(beat, "wire", 10, 3)
		check("beat", false, "/a", "/b")
		w.control(beat, "wire", 10, 4)
		check("beat of another revision", true, "/a", "/b")
		w.control(full, "wire", 10, 4, "/a")
		check("its full", false, "/a")
		w.control(full, "wire", 10, 3, "/b", "/a")
		check("an older one, late", false, "/a")
		w.control(beat, "wire", 9, 9)
		w.control(full, "wire", 9, 9, "/z")
		w.control(bye, "wire", 9, 9)
		check("late frames of an earlier life", false, "/a")
		w.control(beat, "wire", 11, 1)
		check("beat of a later life", true, []string{}...)
		w.control(hello, "wire", 12, 1, "/new")
		check("hello of a later life, which must prove itself", true, []string{}...)
		w.control(hello, "wire", 12, 1, "/new")
		check("hello of that life", false, "/new")
		w.control(bye, "wire", 11, 1)
		check("goodbye of the earlier one", false, "/new")
		w.control(bye, "wire", 12, 1)
		check("goodbye", false)
		w.control(full, "wire", 12, 2)
		settle()
		require.Len(t, n.KnownPeers(), 1, "without namespaces")
		assert.Empty(t, n.KnownPeers()[0].Namespaces, "without namespaces")
		f.errs[0].none(t)
	})
}

func TestPeerTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, nil)
		memorytest.Freeze(f.brokers[2])
		time.Sleep(3400 * time.Millisecond)
		settle()
		assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "before the timeout")
		time.Sleep(time.Second)
		settle()
		assert.Equal(t, f.ids(1), peerIDs(f.nodes[0]), "after it")
		// It is forgotten. The broker still counts it, as a peer that has not announced itself.
		if n, err := serversOf(t.Context(), f.ns[0]); n != 3 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		memorytest.Thaw(f.brokers[2])
		time.Sleep(time.Second)
		settle()
		assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "back again")

		memorytest.Kill(f.brokers[1])
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		assert.ErrorIs(t, err, backplane.ErrPeerLost, "killed: %+v", m)
		assert.Len(t, m.Missing, 1, "killed: %+v", m)
		time.Sleep(5 * time.Second)
		m, err = f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err, "killed and forgotten: %+v", m)
		assert.Equal(t, f.ids(2), m.Answered, "killed and forgotten: %+v", m)
	})
}

// A node that receives nothing reports no peer as lost, and gives all peers a new PeerTimeout.
func TestPeersDuringOwnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log linkLog
		f := newFleet(t, 3, backplane.Options{Observers: []observe.Observer{&log}}, nil)
		memorytest.Cut(f.brokers[0], nil)
		settle()
		gone := errors.New("cable")
		time.Sleep(time.Minute)
		settle()
		assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "after a minute")
		assert.Equal(t, f.ids(2), peerIDs(f.nodes[1]), "at the others")
		memorytest.Kill(f.brokers[2]) // meanwhile
		memorytest.Heal(f.brokers[0])
		settle()
		assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "resumed")
		assert.Equal(t, f.ids(0, 2), peerIDs(f.nodes[1]), "at the others")
		time.Sleep(3 * time.Second)
		settle()
		assert.Equal(t, f.ids(1, 2), peerIDs(f.nodes[0]), "still time")
		time.Sleep(2 * time.Second)
		settle()
		assert.Equal(t, f.ids(1), peerIDs(f.nodes[0]), "over")

		memorytest.Cut(f.brokers[0], gone)
		settle()
		found := 0
		for _, err := range f.errs[0].take() {
			if ie, ok := errors.AsType[*backplane.InterruptedError](err); ok && errors.Is(err, gone) && ie.Namespace == "" {
				found++
			}
		}
		assert.Equal(t, 1, found, "reports of the outage of the control channel")
	})
}

// A node whose process slept has received nothing, and forgets no peer for that reason.
func TestPeersAfterSleep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sleeper := &sleepyObserver{}
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Name: "n0", Observers: []observe.Observer{sleeper}}, nil)
		f.add(&backplane.Options{Name: "n1"}, nil)
		f.meet()
		memorytest.Cut(f.brokers[0], nil)
		settle()
		memorytest.Heal(f.brokers[0])
		time.Sleep(time.Minute - 100*time.Millisecond) // the keeper sleeps a minute
		settle()
		began := time.Now()
		for time.Since(began) < 5*time.Second {
			time.Sleep(50 * time.Millisecond)
			settle()
			require.Len(t, peerIDs(f.nodes[0]), 1, "known %v after it woke", time.Since(began))
		}
	})
}

// sleepyObserver blocks the goroutine that watches the peers.
type sleepyObserver struct{ observe.Nop }

func (*sleepyObserver) Interrupted(string, error) {}
func (*sleepyObserver) Resumed(namespace string, _ time.Duration) {
	if namespace == "" {
		time.Sleep(time.Minute)
	}
}

// A node that stopped without goodbye starts again with the same id.
func TestRestart(t *testing.T) {
	for _, clock := range []string{"later", "the same"} {
		t.Run(clock, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{}, answering)
				old := &backplane.Options{ID: "fixed"}
				f.add(old, answering(2))
				f.meet()
				f.socket(2, "x")
				memorytest.Freeze(f.brokers[2])

				// A request to which the first life will not respond.
				result := make(chan error, 1)
				var m *backplane.Result[backplane.MemberInfo]
				go func() {
					var err error
					m, err = f.ns[0].Members(t.Context(), backplane.All())
					result <- err
				}()
				settle()
				memorytest.Kill(f.brokers[2])
				if clock == "later" {
					time.Sleep(100 * time.Millisecond)
				}
				began := time.Now()
				f.add(&backplane.Options{ID: "fixed"}, answering(3))
				f.socket(3, "y")
				err := <-result
				if clock == "later" {
					if !errors.Is(err, backplane.ErrPeerLost) || time.Since(began) > 0 || !slices.Equal(m.Answered, f.ids(1)) {
						t.Errorf("the question of the first life: %+v, %v after %v", m, err, time.Since(began))
					}
				}
				time.Sleep(time.Second)
				settle()
				list, err := f.ns[0].Members(t.Context(), backplane.All())
				require.NoError(t, err, "afterwards: %+v", list)
				require.Len(t, list.List, 1, "afterwards: %+v", list)
				assert.Equal(t, "y", list.List[0].ID, "afterwards: %+v", list)
				assert.Equal(t, "fixed", list.List[0].Node, "afterwards: %+v", list)
				for _, log := range f.errs[:2] {
					log.none(t)
				}
			})
		})
	}
}

func TestDuplicateID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		began := time.Now()
		f.add(&backplane.Options{ID: "twin"}, nil)
		time.Sleep(time.Millisecond)
		f.add(&backplane.Options{ID: "twin"}, nil)
		time.Sleep(time.Second) // the elder receives a hello, the younger a heartbeat
		settle()
		for i, log := range f.errs {
			since := began.Add(time.Duration(1-i) * time.Millisecond).Round(0).Format(time.RFC3339Nano)
			e := reported[*backplane.OpError](t, log)
			assert.Equal(t, "twin", e.Name, "node %d", i)
			assert.ErrorIs(t, e, backplane.ErrDuplicateID, "node %d", i)
			assert.True(t, strings.HasSuffix(e.Error(), since), "node %d", i)
		}
		time.Sleep(time.Minute)
		settle()
		for _, log := range f.errs {
			log.none(t) // each other node is reported once
		}
		f.add(&backplane.Options{ID: "twin"}, nil)
		time.Sleep(time.Second)
		settle()
		for _, log := range f.errs[:2] {
			assert.ErrorIs(t, reported[*backplane.OpError](t, log), backplane.ErrDuplicateID)
		}
		f.errs[2].take()
		require.NoError(t, f.nodes[2].Close(t.Context()))
		// More nodes than any fleet has: only the last ones are remembered.
		w := f.wire("")
		for range 2 {
			for i := range 20 {
				w.control(beat, "twin", int64(i+1), 1)
			}
		}
		time.Sleep(time.Second)
		settle()
		n := 0
		for _, err := range f.errs[1].take() {
			e, ok := errors.AsType[*backplane.OpError](err)
			require.True(t, ok, "%v", err)
			n += 1 + e.More
		}
		assert.Equal(t, 41, n, "reports of 20 others in turn, and of the true twin, which was forgotten over them")
		f.errs[0].take()
		time.Sleep(time.Second)
		settle()
		for _, log := range f.errs[:2] {
			log.take() // the real twin was forgotten because of them
		}
		// A goodbye of an earlier life does not concern the live node.
		require.NoError(t, f.nodes[0].Close(t.Context()))
		settle()
		f.errs[1].none(t)
	})
}

// The goodbye is the last frame of a node, also if its Close takes long.
func TestGoodbyeIsTheLastWord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, nil)
		second, err := f.nodes[0].Namespace(t.Context(), "/second", nil)
		require.NoError(t, err)
		release := make(chan struct{})
		stuck := newSocket("stuck")
		stuck.onDeliver = func() { <-release }
		f.join(0, stuck)
		f.broadcast(1, "x", backplane.All())
		settle()
		w := f.wire("wire")
		done := make(chan error, 1)
		go func() { done <- f.nodes[0].Close(context.Background()) }()
		go second.Close(t.Context())
		time.Sleep(time.Minute)
		settle()
		w.asks(f.nodes[0].ID(), "wire")
		settle()
		goodbyes := 0
		for _, p := range w.saw(kindControl) {
			if !bytes.HasPrefix(p[4:], []byte(f.nodes[0].ID())) {
				continue
			}
			if goodbyes++; p[2] != bye && goodbyes > 1 {
				t.Errorf("after goodbye it said %q", p)
			}
		}
		assert.NotZero(t, goodbyes, "it said nothing")
		assert.Equal(t, f.ids(2), peerIDs(f.nodes[1]), "peers")
		close(release)
		assert.NoError(t, <-done)
	})
}

// A node that could not receive gives all peers a new PeerTimeout, also those from which it still
// receives nothing.
func TestDeafNodeHearsAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		other := f.nodes[1].ID()
		memorytest.Freeze(f.brokers[0])
		memorytest.Cut(f.brokers[1], nil)
		time.Sleep(time.Minute)
		memorytest.Thaw(f.brokers[0])
		time.Sleep(3 * time.Second)
		settle()
		assert.Equal(t, []string{other}, peerIDs(f.nodes[0]), "still time")
		time.Sleep(2 * time.Second)
		settle()
		assert.Empty(t, peerIDs(f.nodes[0]), "over")
	})
}

func TestMalformedControlFrames(t *testing.T) {
	good := pack([]any{1, full, "wire", 1, 1, []any{[]any{"native", chat, "native/1"}}})
	require.NoError(t, backplane.DecodeControl(good))
	bad := map[string][]byte{
		"empty":                 {},
		"not MessagePack":       []byte("\xc1hello"),
		"JSON":                  []byte(`{"type":1}`),
		"short array":           pack([]any{1, full, "wire", 1, 1}),
		"version 0":             pack([]any{0, full, "wire", 1, 1, nil}),
		"no id":                 pack([]any{1, full, "", 1, 1, nil}),
		"long id":               pack([]any{1, full, strings.Repeat("x", 129), 1, 1, nil}),
		"id of bytes":           pack([]any{1, full, []byte("wire"), 1, 1, nil}),
		"invalid UTF-8":         pack([]any{1, full, "wi\xffre", 1, 1, nil}),
		"negative revision":     pack([]any{1, full, "wire", 1, -1, nil}),
		"namespace alone":       pack([]any{1, full, "wire", 1, 1, []any{chat}}),
		"short namespace":       pack([]any{1, full, "wire", 1, 1, []any{[]any{"native", chat}}}),
		"a protocol of no name": pack([]any{1, full, "wire", 1, 1, []any{[]any{"Wire", chat, "x"}}}),
		"a number as protocol":  pack([]any{1, full, "wire", 1, 1, []any{[]any{0, chat, "x"}}}),
	}
	for i := range good {
		bad[fmt.Sprintf("first %d bytes", i)] = good[:i]
	}
	for name, p := range bad {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, 1, backplane.Options{}, nil)
			w := f.wire("")
			before := f.nodes[0].Stats().Undecodable
			w.send(broker.Control(), p)
			settle()
			if de := reported[*backplane.MessageError](t, f.errs[0]); de.Channel != broker.Control() || de.Err == nil {
				t.Errorf("%s: reported %+v", name, de)
			}
			n := f.nodes[0].Stats().Undecodable - before
			assert.EqualValues(t, 1, n, "%s: counted", name)
			assert.Empty(t, f.nodes[0].KnownPeers(), "%s: counted", name)
		})
	}
	// Elements that later versions may add are read or ignored.
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w := f.wire("wire")
		w.says("wire", 1)
		w.send(broker.Control(), pack([]any{2, full, "wire", 1, 1, []any{[]any{"native", chat, "native/2", []any{"more"}, 7}}, "more", []any{1}}))
		w.send(broker.Control(), pack([]any{2, 99, "wire", 1, 1, nil}))
		settle()
		p := f.nodes[0].KnownPeers()
		require.Len(t, p, 1)
		assert.Equal(t, []string{"native/2"}, p[0].Speaks)
		st := f.nodes[0].Stats()
		assert.EqualValues(t, 1, st.Foreign)
		assert.Zero(t, st.Undecodable)
		f.errs[0].none(t)
	})
}

// More frames than can wait do not keep the node from handling the important ones.
func TestControlFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		w := f.wire("")
		for i := range 20_000 {
			w.control(full, fmt.Sprint("flood", i%2000), 1, i, chat)
		}
		for range 2000 {
			w.control(bye, "another", 1, 1)
		}
		time.Sleep(5 * time.Second)
		settle()
		assert.Equal(t, f.ids(1), peerIDs(f.nodes[0]), "peers")
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		require.NoError(t, err, "%+v", m)
		assert.Len(t, m.Answered, 1, "%+v", m)
	})
}

// Announcements that arrive faster than they can be handled are counted, and reported together.
func TestAnnouncementsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Name: "n0", Observers: []observe.Observer{&sleepyObserver{}}}, nil)
		w := f.wire("")
		memorytest.Cut(f.brokers[0], nil)
		settle()
		memorytest.Heal(f.brokers[0])
		time.Sleep(time.Second) // the handling goroutine sleeps a minute
		settle()
		f.errs[0].take()
		before := f.nodes[0].Stats().MembershipLost
		const n = 3000
		for range n {
			w.control(bye, "another", 1, 1)
		}
		time.Sleep(time.Hour)
		settle()
		lost := f.nodes[0].Stats().MembershipLost - before
		assert.GreaterOrEqual(t, lost, uint64(n-1024))
		assert.LessOrEqual(t, lost, uint64(n))
		told := uint64(0) // in one report or several
		for _, err := range f.errs[0].take() {
			if e, ok := err.(*backplane.OpError); ok && errors.Is(err, backplane.ErrOverflow) {
				told += uint64(1 + e.More)
			}
		}
		assert.Equal(t, lost+before, told)
	})
}

// No heartbeats gather in the queue while the link is down.
func TestNoHeartbeatsWhileInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		w := f.wire("")
		memorytest.Cut(f.brokers[0], nil)
		time.Sleep(20 * time.Second)
		settle()
		assert.LessOrEqual(t, f.brokers[0].Stats().QueuedMessages, 1, "messages wait")
		w.saw(kindControl)
		memorytest.Heal(f.brokers[0])
		settle()
		kinds := []int{}
		for _, p := range w.saw(kindControl) {
			if strings.Contains(string(p), f.nodes[0].ID()) {
				kinds = append(kinds, int(p[2]))
			}
		}
		assert.Contains(t, kinds, hello, "kinds of frames")
		assert.LessOrEqual(t, len(kinds), 3, "kinds of frames")
		assert.Equal(t, f.ids(0), peerIDs(f.nodes[1]), "peers")
	})
}

// A node that receives nothing, not even its own frames, has not lost the others: its broker may
// not have noticed yet that the link is dead.
func TestDeafNodeForgetsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		other := f.nodes[1].ID()
		memorytest.Freeze(f.brokers[0])
		time.Sleep(time.Minute)
		assert.Equal(t, []string{other}, peerIDs(f.nodes[0]), "while deaf")
		memorytest.Thaw(f.brokers[0])
		settle()
		assert.Equal(t, []string{other}, peerIDs(f.nodes[0]), "when it hears again")
		memorytest.Kill(f.brokers[1])
		time.Sleep(time.Minute)
		assert.Empty(t, peerIDs(f.nodes[0]), "the other is dead")
	})
}
