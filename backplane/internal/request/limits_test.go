package request_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// asking is a request in progress to some known nodes.
func asking(t *testing.T, op wire.Op, ids ...string) *inquiry {
	bus := memorybroker.NewBus(nil)
	me := newPeer(t, bus, broker.Native, "me")
	me.open()
	for _, id := range ids {
		newPeer(t, bus, broker.Native, id).open()
	}
	q := inquireOp(t, me, op)
	q.run()
	return q
}

// part is a part of a list with a given size in memory.
func part(bytes int) []wire.MemberInfo {
	list := make([]wire.MemberInfo, bytes/1024)
	data := make([]byte, 1024-96)
	for i := range list {
		list[i].Data = data
	}
	return list
}

func (q *inquiry) part(id string, list []wire.MemberInfo, more bool) request.Outcome {
	return q.tab.Take(&wire.Response{RequestID: q.req.ID, Node: id, Members: list, More: more})
}

// ids of requests have 80 unpredictable bits.
func TestIDsCannotBeGuessed(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	tab := newPeer(t, bus, broker.Native, "me").table()
	seen := map[string]bool{}
	for range 10_000 {
		id := tab.NewID()
		random, ok := strings.CutPrefix(id, "me.")
		require.True(t, ok && tab.Own(id) && len(random) == 16 && !seen[random], id)
		seen[random] = true
	}
}

// A node whose parts do not end is cut off at a limit of bytes. The responses of the others are
// kept.
func TestEndlessParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := asking(t, wire.OpMembers, "endless", "sound")
		taken := 0
		for q.part("endless", part(1<<20), true) == request.Taken {
			require.Less(t, taken, 1000, "MiB")
			taken++
		}
		assert.Equal(t, request.MaxResponse>>20, taken, "MiB, of which the last exceeds the limit")
		assert.True(t, q.running())
		q.respond("sound")
		<-q.done
		assert.Equal(t, []string{"sound"}, q.r.Answered)
		assert.Equal(t, []request.Missing{{Node: "endless", Count: 1, State: request.TooLarge}}, q.r.Missing)
	})
}

// Small parts have a limit in number.
func TestManySmallParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := asking(t, wire.OpRooms, "endless")
		taken := 0
		for q.part("endless", nil, true) == request.Taken {
			require.Less(t, taken, 100_000)
			taken++
		}
		assert.Equal(t, request.MaxParts+1, taken)
		<-q.done
		assert.Equal(t, request.TooLarge, q.r.Missing[0].State)
	})
}

// Small elements count with their size in memory, not on the wire.
func TestSmallMembersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := asking(t, wire.OpMembers, "a")
		assert.Equal(t, request.Taken, q.part("a", make([]wire.MemberInfo, 1_000_000), false))
		<-q.done
		assert.Equal(t, request.TooLarge, q.r.Missing[0].State)
	})
}

// All responses to one request have a limit together.
func TestLimitOfAllResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := []string{"a", "b", "c", "d", "e", "f"}
		q := asking(t, wire.OpMembers, ids...)
		for _, id := range ids {
			q.part(id, part(request.MaxResponse-1<<20), false)
		}
		<-q.done
		assert.Equal(t, ids[:4], q.r.Answered)
		require.Len(t, q.r.Missing, 2)
		for _, m := range q.r.Missing {
			assert.Equal(t, request.TooLarge, m.State)
		}
	})
}

// A node that sends acknowledgements without end is cut off too.
func TestEndlessAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := asking(t, wire.OpBroadcast, "endless")
		payload, taken := make([]byte, 1<<20), 0
		for q.tab.Take(&wire.Response{RequestID: q.req.ID, Node: "endless", Ack: true, Payload: payload}) == request.Taken {
			require.Less(t, taken, 1000, "MiB")
			taken++
		}
		assert.Equal(t, request.MaxResponse>>20, taken)
		<-q.done
		assert.Equal(t, request.TooLarge, q.r.Missing[0].State)
	})
}

// Responses are accepted from nodes that were counted or are known, and from few others. So
// invented names are not remembered.
func TestForgedNames(t *testing.T) {
	for _, stranger := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bus := memorybroker.NewBus(nil)
			me, known := newPeer(t, bus, broker.Native, "me"), newPeer(t, bus, broker.Native, "known")
			me.open()
			known.open()
			want := 0
			if stranger { // counted without a name
				newPeer(t, bus, broker.Native, "stranger").subscribe()
				want = 64
			}
			q := inquire(t, me)
			newPeer(t, bus, broker.Native, "late").open()
			q.run()
			if stranger {
				q.respond("stranger")
			}
			taken := 0
			for i := range 10_000 {
				for _, ack := range []bool{false, true} {
					r := &wire.Response{RequestID: q.req.ID, Node: fmt.Sprint("forged", i), Ack: ack, Members: []wire.MemberInfo{}}
					if q.tab.Take(r) == request.Taken && !ack {
						taken++
					}
				}
			}
			assert.Equal(t, want, taken)
			assert.Equal(t, request.Stray, q.tab.Take(&wire.Response{RequestID: q.req.ID, Node: "another", Members: []wire.MemberInfo{}}))
			if !stranger {
				assert.Equal(t, request.Stray, q.tab.Take(&wire.Response{RequestID: q.req.ID, Members: []wire.MemberInfo{}}), "without a name")
			}
			q.respond("late", "known")
			<-q.done
			assert.Contains(t, q.r.Answered, "late")
			assert.Contains(t, q.r.Answered, "known")
			assert.Empty(t, q.r.Missing)
		})
	}
}
