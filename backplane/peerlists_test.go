package backplane_test

import (
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
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// served returns the namespaces of another node that a node knows; nil if it does not know the
// other node.
func served(n *backplane.Node, id string) []string {
	settle()
	for _, p := range n.KnownPeers() {
		if p.ID == id {
			return append([]string{}, p.Namespaces...)
		}
	}
	return nil
}

// part sends a part of a list to one node.
func (w *rawPeer) part(to, id string, since, revision, part, parts int, names ...string) {
	w.t.Helper()
	w.send(broker.NodeControl(to), pack([]any{1, full, id, since, revision, spaces(names...), 0, part, parts, nil}))
}

// Changes are applied in the order of their revisions, in every order of arrival.
func TestChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w := f.wire("wire")
		n := f.nodes[0]
		check := func(what string, asked bool, want ...string) {
			t.Helper()
			assert.Equal(t, append([]string{}, want...), served(n, "wire"), what)
			found := slices.ContainsFunc(w.saw(kindControl), func(p []byte) bool { return p[2] == ask })
			assert.Equal(t, asked, found, "%s: asked for the list", what)
			time.Sleep(100 * time.Millisecond) // until it may send another request
			settle()
			w.saw(kindControl)
		}
		w.control(hello, "wire", 9, 1, "/a")
		check("hello", false, "/a")
		w.change("wire", 9, 1, 2, []string{"/b"}, nil)
		check("added", false, "/a", "/b")
		w.change("wire", 9, 1, 2, []string{"/b"}, nil)
		check("a duplicate", false, "/a", "/b")
		w.change("wire", 9, 2, 4, []string{"/c"}, []string{"/a"})
		check("both", false, "/b", "/c")
		w.change("wire", 9, 1, 2, []string{"/a"}, nil)
		check("an old one", false, "/b", "/c")
		w.change("wire", 8, 4, 5, []string{"/z"}, nil)
		check("of an earlier life", false, "/b", "/c")
		w.change("wire", 9, 3, 5, []string{"/d"}, nil)
		check("begins earlier", false, "/b", "/c", "/d")
		w.change("wire", 9, 6, 7, []string{"/f"}, nil)
		check("a gap", true, "/b", "/c", "/d")
		w.part("x", "wire", 9, 6, 0, 1, "/x")
		check("not for this node", false, "/b", "/c", "/d")
		w.part(n.ID(), "wire", 9, 6, 0, 1, "/b", "/e")
		check("the list, and what came before it", false, "/b", "/e", "/f")
		w.part(n.ID(), "wire", 9, 5, 0, 1, "/old")
		check("an older list", false, "/b", "/e", "/f")
		w.control(beat, "wire", 9, 7)
		check("beat", false, "/b", "/e", "/f")
		w.change("wire", 9, 7, 8, nil, []string{"/unknown"})
		check("what was not there is removed", false, "/b", "/e", "/f")

		// A list in parts.
		w.control(beat, "wire", 9, 20)
		check("later", true, "/b", "/e", "/f")
		w.part(n.ID(), "wire", 9, 20, 0, 3, "/1")
		w.part(n.ID(), "wire", 9, 20, 1, 3, "/2")
		w.part(n.ID(), "wire", 9, 20, 1, 3, "/2")
		w.part(n.ID(), "wire", 9, 20, 0, 3, "/1")
		check("incomplete", false, "/b", "/e", "/f")
		w.change("wire", 9, 20, 21, []string{"/4"}, []string{"/1"})
		w.part(n.ID(), "wire", 9, 20, 2, 3, "/3")
		check("complete", false, "/2", "/3", "/4")
		w.control(beat, "wire", 9, 30)
		w.part(n.ID(), "wire", 9, 30, 0, 3, "/1")
		w.part(n.ID(), "wire", 9, 30, 2, 3, "/3")
		check("one is lost", true, "/2", "/3", "/4")
		time.Sleep(time.Second)
		w.control(beat, "wire", 9, 30)
		check("so it is asked for again", true, "/2", "/3", "/4")
		w.part(n.ID(), "wire", 9, 30, 0, 1, "/all")
		check("in one", false, "/all")

		// A revision that the node never had does not make its own ones outdated permanently.
		w.change("wire", 9, 1<<40, 1<<41, []string{"/forged"}, nil)
		check("from the future", true, "/all")
		w.part(n.ID(), "wire", 9, 1<<42, 0, 1, "/forged")
		check("a list from there", false, "/forged")
		w.control(beat, "wire", 9, 31)
		check("beat", true, "/forged")
		w.part(n.ID(), "wire", 9, 31, 0, 1, "/true")
		check("the list", false, "/true")
		f.errs[0].none(t)
	})
}

// When namespaces are opened and closed concurrently, the other nodes know the final state.
func TestManyNamespacesAtOnce(t *testing.T) {
	for _, kind := range brokerKinds {
		bubble(t, func(t *testing.T) {
			f := trioOn(t, kind.wrap, backplane.Options{})
			const spaces = 4000
			var all sync.WaitGroup
			for i := range 16 {
				all.Go(func() {
					for k := i; k < spaces; k += 16 {
						ns, err := f.nodes[0].Namespace(t.Context(), fmt.Sprint("/", k), nil)
						if err != nil {
							t.Error(err)
							return
						}
						if k%4 != 0 {
							assert.NoError(t, ns.Close(t.Context()))
						}
					}
				})
			}
			all.Wait()
			time.Sleep(20 * time.Millisecond) // the last ones wait for others
			settle()
			want := f.nodes[0].Namespaces()
			assert.Len(t, want, spaces/4+1, "namespaces")
			for _, n := range f.nodes[1:] {
				assert.Equal(t, want, served(n, f.nodes[0].ID()), kind.name)
			}
			f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, nil)
			assert.Equal(t, want, served(f.nodes[3], f.nodes[0].ID()), kind.name+", at a newcomer")
		})
	}
}

// With the smallest payloads lists come in many parts, and a namespace whose announcement
// does not fit is refused.
func TestListsInParts(t *testing.T) {
	for _, c := range []struct {
		kind, limit int
	}{{0, 1024}, {1, 1024}, {0, 160}, {1, 160}} { // 160 bytes have no room for neighbours
		bubble(t, func(t *testing.T) {
			kind, limit := brokerKinds[c.kind], c.limit
			f := newFleetOn(t, &memorybroker.Options{MaxPayload: limit}, 0, backplane.Options{}, nil)
			f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, answering(0))
			for i := range 500 {
				_, err := f.nodes[0].Namespace(t.Context(), fmt.Sprintf("/%04d", i), nil)
				require.NoError(t, err)
			}
			long := "/" + strings.Repeat("x", 2*limit)
			var size *broker.PayloadError
			if _, err := f.nodes[0].Namespace(t.Context(), long, nil); !errors.As(err, &size) || size.Max != limit {
				t.Errorf("a long name: %v", err)
			}
			f.addOn(f.bus.Broker(), kind.wrap, &backplane.Options{}, answering(1))
			assert.Equal(t, f.nodes[0].Namespaces(), served(f.nodes[1], f.nodes[0].ID()), kind.name)
			ns, err := openNamespace(t.Context(), f.nodes[1], "/0321", answering(1))
			require.NoError(t, err)
			m, err := ns.Members(t.Context(), backplane.All())
			if assert.NoError(t, err, "%s: %+v", kind.name, m) {
				assert.Len(t, m.Answered, 1, "%s: %+v", kind.name, m)
			}
			for _, log := range f.errs {
				log.none(t)
			}
		})
	}
}

// Namespaces that a peer has left are remembered for a while, within the same limit.
func TestLimitOfNamesThatWereLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w := f.wire("wire")
		w.control(hello, "wire", 1, 1)
		settle()
		long := strings.Repeat("x", 1<<20)
		for i := range 100 {
			name := fmt.Sprint("/", i, long)
			w.change("wire", 1, 1+2*i, 2+2*i, []string{name}, nil)
			w.change("wire", 1, 2+2*i, 3+2*i, nil, []string{name})
			settle()
		}
		kept, sum := f.nodes[0].Kept()
		assert.GreaterOrEqual(t, kept, 32<<20)
		assert.LessOrEqual(t, kept, 64<<20)
		assert.Equal(t, sum, kept)
		time.Sleep(10 * time.Second)
		settle()
		kept, sum = f.nodes[0].Kept()
		assert.Zero(t, kept)
		assert.Zero(t, sum)
		f.errs[0].take()
	})
}

// The memory for another node is limited. Known entries keep their places.
func TestLimitOfNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, answering)
		w := f.wire("wire")
		names := make([]string, 70_000)
		for i := range names {
			names[i] = fmt.Sprint("/", i)
		}
		refused := func() (n int) {
			time.Sleep(time.Second)
			settle()
			for _, err := range f.errs[0].take() {
				e, ok := errors.AsType[*backplane.OpError](err)
				if !ok || !errors.Is(err, backplane.ErrTooLarge) {
					t.Errorf("reported %v", err)
					continue
				}
				n += 1 + e.More
			}
			return n
		}
		w.control(beat, "wire", 1, 1)
		settle() // it has proved itself
		w.control(hello, "wire", 1, 1, names...)
		n, got := refused(), served(f.nodes[0], "wire")
		assert.Equal(t, 1, n, "a list too long")
		assert.Empty(t, got, "a list too long")
		w.control(hello, "wire", 1, 2, names[:65_000]...)
		n, got = refused(), served(f.nodes[0], "wire")
		assert.Zero(t, n, "a long list")
		assert.Len(t, got, 65_000, "a long list")
		for i := 65_000; i < len(names); i += 100 {
			w.change("wire", 1, 2+i, 2+i+100, names[i:i+100], nil) // none follows the list
		}
		w.change("wire", 1, 2, 3, names[65_000:], nil)
		n, got = refused(), served(f.nodes[0], "wire")
		assert.Equal(t, 1, n, "too many more")
		assert.Len(t, got, 1<<16, "too many more")
		// The limit of bytes is common to all nodes.
		long := make([]string, 1000)
		for i := range long {
			long[i] = fmt.Sprintf("/%s%d", strings.Repeat("x", 4000), i)
		}
		for i := range 20 {
			id := fmt.Sprint("wire", i)
			w.as(id)
			w.control(beat, id, 1, 1)
			settle()
			w.control(hello, id, 1, 1, long...)
		}
		settle()
		assert.GreaterOrEqual(t, refused(), 3)
		kept, sum := f.nodes[0].Kept()
		assert.LessOrEqual(t, kept, 64<<20)
		assert.Equal(t, sum, kept)
		assert.Equal(t, []string{chat}, served(f.nodes[0], f.nodes[1].ID()), "the other node")
		time.Sleep(5 * time.Second)
		settle()
		f.wire("late").control(hello, "late", 1, 1, "/a")
		assert.Equal(t, []string{"/a"}, served(f.nodes[0], "late"), "when they are gone")
		kept, sum = f.nodes[0].Kept()
		assert.Equal(t, sum, kept)
	})
}
