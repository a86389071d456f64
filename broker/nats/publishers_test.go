package natsbroker

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// arrivals passes messages to a publishers as the reader does.
type arrivals struct {
	t *testing.T
	publishers
}

func newArrivals(t *testing.T) *arrivals {
	return &arrivals{t, publishers{own: &identity{}}}
}

func (a *arrivals) want(from, seq, sum uint64, want order) {
	a.t.Helper()
	f := &frame{from: from, seq: seq}
	p, got := a.check(f, sum)
	require.Equal(a.t, want, got, "message %d of %d", seq, from)
	if p != nil && got != duplicate {
		p.record(f, sum)
	}
}

// connections returns the ids of a broker's first n connections.
func connections(n int) (ids []uint64) {
	var d identity
	for range n {
		ids = append(ids, d.next())
	}
	return ids
}

func TestIdentity(t *testing.T) {
	var d identity
	seen := map[uint64]bool{}
	var last uint64
	for i := range idsOfChain + 10 {
		id := d.next()
		assert.False(t, seen[id], "id %d came before", i)
		if i > 0 {
			assert.Equal(t, i != idsOfChain, idBefore(id) == last, "id %d leads to the one before", i)
		}
		assert.Less(t, id, uint64(1)<<56)
		seen[id], last = true, id
	}
	for id := range seen {
		assert.True(t, d.has(id))
	}
	assert.False(t, d.has(idBefore(connections(1)[0])))
}

func TestCopies(t *testing.T) {
	a, id := newArrivals(t), connections(2)
	a.want(id[0], 5, 500, inOrder)
	a.want(id[0], 5, 500, duplicate)
	a.want(id[0], 6, 600, inOrder)
	a.want(id[0], 5, 500, duplicate)
	a.want(id[0], 6, 601, inOrder) // another message that has this number: one of the two is forged
	a.want(id[0], 4, 400, inOrder) // one of the others was forged
	other := connections(1)[0]
	a.want(other, 6, 602, inOrder)
	a.want(other, 6, 602, duplicate)

	a.want(id[1], 9, 900, inOrder)
	a.want(id[0], 8, 800, overtaken) // had stayed at a server
	a.want(id[0], 8, 800, duplicate)
	a.want(id[1], 9, 900, duplicate)
	a.want(id[1], 10, 1000, inOrder)
	a.want(id[0], 7, 700, overtaken)
}

// TestLaterConnections: ids are ordered also if nothing was heard from most of the connections, whichever is heard
// first.
func TestLaterConnections(t *testing.T) {
	id := connections(3 * idsSkipped)
	for range 200 {
		a := newArrivals(t)
		latest := earlierKnown + rand.IntN(idsSkipped)
		a.want(id[latest], 1000, 1, inOrder)
		heard := map[int]bool{latest: true}
		for n := range uint64(50) {
			next := max(0, latest-rand.IntN(idsSkipped/2))
			if rand.IntN(2) == 0 {
				next = min(len(id)-1, latest+1+rand.IntN(idsSkipped/2))
			}
			switch {
			case next >= latest:
				latest = next
				a.want(id[next], n, n+10, inOrder)
			case heard[next] || heard[0]:
				a.want(id[next], n, n+10, overtaken)
			default:
				continue // older than all that were heard: only some of these are known
			}
			heard[next] = true
		}
	}
	a := newArrivals(t)
	a.want(id[10], 10, 10, inOrder)
	a.want(id[10-earlierKnown], 9, 9, overtaken) // older than the first that was heard
}

// TestForgedFrames: whatever is forged with the ids that a broker has shown, its own messages are in order.
func TestForgedFrames(t *testing.T) {
	id := connections(10)
	a := newArrivals(t)
	sum := uint64(1)
	for now := range id {
		for seq := uint64(100 * now); seq < uint64(100*now+100); seq++ {
			for range 5 {
				forged := id[rand.IntN(now+1)]
				switch rand.IntN(4) {
				case 0:
					forged = idBefore(forged)
				case 1:
					forged = rand.Uint64() & idMask
				}
				number := []uint64{seq, seq + 1, seq + 1000, 1<<20 - 1, rand.Uint64(), 1<<64 - 1}[rand.IntN(6)]
				sum++
				f := &frame{from: forged, seq: number}
				if p, order := a.check(f, sum); order != duplicate {
					p.record(f, sum)
				}
			}
			sum++
			a.want(id[now], seq, sum, inOrder)
			a.want(id[now], seq, sum, duplicate)
		}
	}
}

// TestOwnMessages: a message of an earlier connection of the broker itself is not delivered.
func TestOwnMessages(t *testing.T) {
	a := newArrivals(t)
	first := a.own.next()
	a.own.next()
	a.want(first, 1, 1, duplicate)
}

// TestPublishersForgotten: the memory does not grow with the number of publishers that have left.
func TestPublishersForgotten(t *testing.T) {
	a := newArrivals(t)
	stays := connections(1)[0]
	for from := range uint64(3 * idsKept) {
		a.want(from, 1, from+1, inOrder)
		a.want(stays, from, from+1, inOrder)
		require.LessOrEqual(t, len(a.now)+len(a.before), 2*idsKept, "recorded ids")
	}
	a.want(stays, 3*idsKept-1, 3*idsKept, duplicate)
	a.want(3*idsKept-1, 1, 3*idsKept, duplicate)
	a.want(0, 1, 1, inOrder)
}

func BenchmarkPublishers(b *testing.B) {
	id := connections(1)[0]
	for _, c := range []struct {
		name string
		id   func(i int) uint64
	}{{"known", func(int) uint64 { return id }}, {"unknown", func(i int) uint64 { return uint64(i) }}} {
		b.Run(fmt.Sprint(c.name), func(b *testing.B) {
			a := publishers{own: &identity{}}
			for i := 0; b.Loop(); i++ {
				f := &frame{from: c.id(i), seq: uint64(i)}
				if p, order := a.check(f, uint64(i)+1); order != duplicate {
					p.record(f, uint64(i)+1)
				}
			}
		})
	}
}
