package backplane_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// One who cannot read requests cannot respond to them: their ids are not to be guessed.
func TestResponsesPublishedBlind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		w, blind := f.wire("w"), f.wire("")
		w.control(full, "w", 1, 1, chat)
		settle()
		replaced := 0
		for range 8 {
			w.onRequest(func(r *wire.Request) {
				for k := range 64 {
					guess := &wire.Request{ID: f.nodes[0].ID() + "." + strconv.FormatInt(int64(k), 36), Origin: r.Origin}
					blind.answer(guess, "w", wire.Response{Members: []wire.MemberInfo{{ID: "forged"}}})
				}
				time.AfterFunc(100*time.Millisecond, func() {
					w.answer(r, "w", wire.Response{Members: []wire.MemberInfo{{ID: "true"}}})
				})
			})
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			require.NoError(t, err)
			require.Len(t, m.List, 1)
			if m.List[0].ID != "true" {
				replaced++
			}
		}
		assert.Zero(t, replaced, "lists replaced of 8")
	})
}

// Responses in made-up names, 3 MiB of them, hold up nothing: a few are taken for those of a
// node that was counted without a name.
func TestForgedNamesHoldUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const names = 30_000
		f := newFleet(t, 1, backplane.Options{}, nil)
		a := f.socket(0, "a")
		w, forger := f.wire("stranger"), f.wire("")
		w.onRequest(func(r *wire.Request) {
			w.answer(r, "stranger", wire.Response{Members: []wire.MemberInfo{{ID: "true"}}})
			w.onRequest(nil)
		})
		forge := func(r *wire.Request) {
			for i := range names {
				forger.answer(r, fmt.Sprintf("%060d", i), wire.Response{Members: []wire.MemberInfo{}})
			}
		}
		listener := f.wire("listener") // never responds, so that the request lasts
		listener.onRequest(forge)
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		assert.Error(t, err)
		assert.LessOrEqual(t, len(m.Answered), 1+64+2)
		assert.GreaterOrEqual(t, f.nodes[0].Stats().StrayResponses, uint64(names-70))
		f.broadcast(0, "x", backplane.All())
		assert.Equal(t, []string{"x"}, a.all())
	})
}

// A response whose parts do not end is cut off, and the result says so.
func TestEndlessResponse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const part, most = 256 << 10, 1 << 10 // parts of 256 KiB
		f := newFleet(t, 2, backplane.Options{}, nil)
		f.socket(1, "sound")
		w := f.wire("w")
		w.control(full, "w", 1, 1, chat)
		settle()
		data, sent := make([]byte, part), make(chan struct{})
		w.onRequest(func(r *wire.Request) {
			defer close(sent)
			for i := range most {
				w.answer(r, "w", wire.Response{Members: []wire.MemberInfo{{ID: strconv.Itoa(i), Data: data}}, More: true})
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
		m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
		<-sent
		p := new(backplane.PartialError)
		require.ErrorAs(t, err, &p)
		require.ErrorIs(t, err, backplane.ErrTooLarge)
		assert.Equal(t, f.ids(1), m.Answered)
		assert.Equal(t, []backplane.Missing{{Node: "w", Count: 1, Reason: backplane.ErrTooLarge}}, m.Missing)
		size := 0
		for _, info := range m.List {
			size += len(info.Data)
		}
		assert.InDelta(t, 64<<20, size, 1<<20)
	})
}
