package outgoing_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/outgoing"
)

// TestPolicies pushes messages while message 0 is being written. The size of a message is its length.
func TestPolicies(t *testing.T) {
	const all = "" // every push is accepted
	for _, c := range []struct {
		name    string
		opts    outgoing.Options
		push    string // a ? marks a volatile message
		refused string
		written string
		stats   outgoing.Stats // at the end
		unsent  *outgoing.Error
	}{
		{"room for all", outgoing.Options{MaxMessages: 3}, "a b c", all, "0 a b c", outgoing.Stats{Written: 4}, nil},

		{"disconnect: messages", outgoing.Options{MaxMessages: 3}, "a b c d e", "d e", "",
			outgoing.Stats{Dropped: 1}, &outgoing.Error{Messages: 4, Bytes: 4, Err: outgoing.ErrFull}},
		{"disconnect: bytes", outgoing.Options{MaxBytes: 10}, "aaaa bbbb cc dd", "dd", "",
			outgoing.Stats{Dropped: 1}, &outgoing.Error{Messages: 4, Bytes: 11, Err: outgoing.ErrFull}},
		{"disconnect: a large message behind another", outgoing.Options{MaxBytes: 3}, "a bbbb", "bbbb", "",
			outgoing.Stats{Dropped: 1}, &outgoing.Error{Messages: 2, Bytes: 2, Err: outgoing.ErrFull}},
		{"a large message alone", outgoing.Options{MaxBytes: 3}, "aaaaaaaa", all, "0 aaaaaaaa", outgoing.Stats{Written: 2}, nil},
		{"disconnect: behind a large message", outgoing.Options{MaxBytes: 3}, "aaaaaaaa b", "b", "",
			outgoing.Stats{Dropped: 1}, &outgoing.Error{Messages: 2, Bytes: 9, Err: outgoing.ErrFull}},

		{"oldest: messages", outgoing.Options{MaxMessages: 3, WhenFull: outgoing.DropOldest}, "a b c d e", all, "0 c d e",
			outgoing.Stats{Written: 4, Dropped: 2}, nil},
		{"oldest: only the last", outgoing.Options{MaxMessages: 1, WhenFull: outgoing.DropOldest}, "a b c d e", all, "0 e",
			outgoing.Stats{Written: 2, Dropped: 4}, nil},
		{"oldest: as many as necessary", outgoing.Options{MaxBytes: 6, WhenFull: outgoing.DropOldest}, "aa bb cc dddd", all, "0 cc dddd",
			outgoing.Stats{Written: 3, Dropped: 2}, nil},
		{"oldest: all for a large one", outgoing.Options{MaxBytes: 6, WhenFull: outgoing.DropOldest}, "aa bb cc dddddddd", all, "0 dddddddd",
			outgoing.Stats{Written: 2, Dropped: 3}, nil},

		{"newest: messages", outgoing.Options{MaxMessages: 3, WhenFull: outgoing.DropNewest}, "a b c d e", "d e", "0 a b c",
			outgoing.Stats{Written: 4, Dropped: 2}, nil},
		{"newest: bytes", outgoing.Options{MaxBytes: 6, WhenFull: outgoing.DropNewest}, "aa bb ccc dd e", "ccc e", "0 aa bb dd",
			outgoing.Stats{Written: 4, Dropped: 2}, nil},

		{"volatile: half of the messages", outgoing.Options{MaxMessages: 4}, "?a ?b ?c d e", "?c", "0 ?a ?b d e",
			outgoing.Stats{Written: 5, DroppedVolatile: 1}, nil},
		{"volatile: behind others", outgoing.Options{MaxMessages: 4}, "a b ?c ?d", "?c ?d", "0 a b",
			outgoing.Stats{Written: 3, DroppedVolatile: 2}, nil},
		{"volatile: half of the bytes", outgoing.Options{MaxBytes: 8}, "aaa ?b ?c d", "?c", "0 aaa ?b d",
			outgoing.Stats{Written: 4, DroppedVolatile: 1}, nil},
		{"volatile: no room", outgoing.Options{MaxBytes: 8}, "aaa ?bbbbbb", "?bbbbbb", "0 aaa",
			outgoing.Stats{Written: 2, DroppedVolatile: 1}, nil},
		{"volatile: as in Socket.IO", outgoing.Options{MaxVolatile: 1}, "?a ?b c ?d", "?b ?d", "0 ?a c",
			outgoing.Stats{Written: 3, DroppedVolatile: 2}, nil},
		{"volatile: one alone", outgoing.Options{MaxMessages: 1, MaxBytes: 1}, "?aaaa ?b", "?b", "0 ?aaaa",
			outgoing.Stats{Written: 2, DroppedVolatile: 1}, nil},
		{"volatile: the first to be dropped", outgoing.Options{MaxMessages: 4}, "?a b c d e", all, "0 b c d e",
			outgoing.Stats{Written: 5, DroppedVolatile: 1}, nil},
		{"volatile: before the oldest", outgoing.Options{MaxMessages: 4, WhenFull: outgoing.DropOldest}, "a ?b c d e f", all, "0 c d e f",
			outgoing.Stats{Written: 5, Dropped: 1, DroppedVolatile: 1}, nil},
		{"volatile: before the newest", outgoing.Options{MaxBytes: 8, WhenFull: outgoing.DropNewest}, "?aa ?bb ccc dddd", all, "0 ccc dddd",
			outgoing.Stats{Written: 3, DroppedVolatile: 2}, nil},
		{"volatile: then the queue ends", outgoing.Options{MaxMessages: 4}, "?a b c d e f", "f", "",
			outgoing.Stats{Dropped: 1, DroppedVolatile: 1}, &outgoing.Error{Messages: 5, Bytes: 5, Err: outgoing.ErrFull}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := newConn(&c.opts)
				release := conn.hold()
				conn.queue.Push("0", 1, false)
				synctest.Wait() // it is being written
				var refused []string
				for _, m := range strings.Fields(c.push) {
					if !conn.queue.Push(m, len(strings.TrimPrefix(m, "?")), m[0] == '?') {
						refused = append(refused, m)
					}
				}
				assert.Equal(t, c.refused, strings.Join(refused, " "))
				synctest.Wait()
				if r := conn.reason(t); (r == nil) != (c.unsent == nil) || r != nil && *r != *c.unsent {
					t.Errorf("disconnected with %+v, want %+v", r, c.unsent)
				}
				release()
				err := conn.queue.Close(t.Context())
				if (err == nil) != (c.unsent == nil) || err != nil && !errors.Is(err, c.unsent.Err) {
					t.Errorf("Close: %v, want %v", err, c.unsent)
				}
				assert.Equal(t, c.written, conn.got())
				assert.Equal(t, c.stats, conn.queue.Stats())
			})
		})
	}
}

// TestDefaults fills queues without options.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		what     string
		size     int
		volatile bool
		want     int
	}{
		{"messages", 1, false, 1024}, {"bytes", 4 << 10, false, 1024}, {"large messages", 8 << 10, false, 512},
		{"volatile messages", 1, true, 512}, {"large volatile messages", 64 << 10, true, 32},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := newConn(nil)
			release := conn.hold()
			conn.queue.Push("", 0, false)
			synctest.Wait()
			n := 0
			for conn.queue.Push("", c.size, c.volatile) {
				n++
			}
			assert.Equal(t, c.want, n, c.what)
			synctest.Wait()
			if r := conn.reason(t); (r == nil) != c.volatile || r != nil && r.Err != outgoing.ErrFull {
				t.Errorf("%s: disconnected with %v", c.what, r)
			}
			release()
			conn.queue.Close(t.Context())
		})
	}
}

// TestAgainstModel compares random pushes with a plain slice.
func TestAgainstModel(t *testing.T) {
	type message struct {
		text     string
		size     int
		volatile bool
	}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		o := outgoing.Options{MaxMessages: 1 + rnd.IntN(20), MaxBytes: 1 + rnd.IntN(100), WhenFull: outgoing.DropOldest}
		o.MaxVolatile = 1 + rnd.IntN(o.MaxMessages)
		if rnd.IntN(2) == 0 {
			o.WhenFull = outgoing.DropNewest
		}
		var model []message
		var want outgoing.Stats
		bytes := func() (n int) {
			for _, m := range model {
				n += m.size
			}
			return n
		}
		full := func(m message) bool {
			return len(model) > 0 && (len(model) >= o.MaxMessages || bytes()+m.size > o.MaxBytes)
		}
		push := func(m message) bool {
			if m.volatile {
				if len(model) > 0 && (len(model) >= o.MaxVolatile || bytes() >= o.MaxBytes/2) || full(m) {
					want.DroppedVolatile++
					return false
				}
			} else if full(m) {
				n := len(model)
				model = slices.DeleteFunc(model, func(m message) bool { return m.volatile })
				want.DroppedVolatile += uint64(n - len(model))
			}
			for full(m) {
				want.Dropped++
				if o.WhenFull == outgoing.DropNewest {
					return false
				}
				model = model[1:]
			}
			model = append(model, m)
			return true
		}
		synctest.Test(t, func(t *testing.T) {
			conn := newConn(&o)
			expected := []string{}
			for round := range 4 {
				release := conn.hold()
				first := fmt.Sprint(round)
				conn.queue.Push(first, 0, false)
				synctest.Wait()
				for i := range rnd.IntN(60) {
					m := message{fmt.Sprint(round, "-", i), rnd.IntN(20), rnd.IntN(3) == 0}
					if got, want := conn.queue.Push(m.text, m.size, m.volatile), push(m); got != want {
						t.Fatalf("seed %d: push of %+v: %v, want %v", seed, m, got, want)
					}
					want.Messages, want.Bytes = len(model)+1, bytes()
					require.Equal(t, want, conn.queue.Stats(), "seed %d", seed)
				}
				release()
				synctest.Wait()
				expected = append(expected, first)
				for _, m := range model {
					expected = append(expected, m.text)
				}
				want.Messages, want.Bytes, want.Written = 0, 0, uint64(len(expected))
				model = nil
			}
			require.NoError(t, conn.queue.Close(context.Background()))
			require.Equal(t, strings.Join(expected, " "), conn.got(), "seed %d: written", seed)
			require.Equal(t, want, conn.queue.Stats(), "seed %d", seed)
		})
	}
}
