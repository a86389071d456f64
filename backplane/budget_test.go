package backplane_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/peakheap"
	"github.com/crossroom/crossroom/internal/wire"
)

// asker sends requests in the name of a node that takes no other part, and counts what comes.
type asker struct {
	b               *memorybroker.Broker
	messages, bytes atomic.Int64
}

func (a *asker) Deliver(_ broker.Channel, payload []byte) {
	a.messages.Add(1)
	a.bytes.Add(int64(len(payload)))
}
func (*asker) Interrupted(error) {}
func (*asker) Resumed()          {}

func newAsker(f *fleet, id string) *asker {
	a := &asker{b: f.bus.Broker()}
	if _, err := a.b.Subscribe(f.t.Context(), a, broker.Exactly(broker.Native.NodeResponses(chat, id))); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = a.b.Close(f.t.Context()) })
	return a
}

func (a *asker) ask(f *fleet, r *wire.Request) {
	buf, err := backplane.NativeCodec().AppendRequest(nil, chat, r)
	if err == nil {
		err = a.b.Publish(f.t.Context(), requestsChannel, buf)
	}
	if err != nil {
		f.t.Error(err)
	}
}

// What requests of other nodes may make a node remember of rooms is limited, in one request and in all, however small they are. What
// leaves makes room again, and the node's own joins are not limited.
func TestLimitOfJoins(t *testing.T) {
	const members = 2000
	f := newFleet(t, 2, backplane.Options{}, nil)
	for i := range members {
		f.join(0, newSocket(fmt.Sprint("s", i)))
	}
	rooms := func(n, size int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint(i, strings.Repeat("x", size)))
		}
		return names
	}
	grant := func(to backplane.Target, names []string) error {
		_, err := f.ns[1].JoinAll(t.Context(), to, names...)
		return err
	}
	joined := func() int { return len(f.ns[0].LocalRooms()) - members }
	peak := peakheap.Measure()
	assert.ErrorContains(t, grant(backplane.All(), rooms(2000, 0)), "too many rooms") // 8 kB
	assert.Zero(t, joined())
	assert.Less(t, peak(), int64(32<<20))
	const fits = 512 << 20 / members / (96 + 4001)
	long := rooms(2*fits, 4000-1)
	require.NoError(t, grant(backplane.All(), long[:fits-2]))
	assert.Equal(t, fits-2, joined())
	assert.ErrorContains(t, grant(backplane.All(), long[fits:2*fits]), "too many rooms")
	assert.Equal(t, fits-2, joined())
	require.NoError(t, f.ns[0].Join(t.Context(), "s1", "own"))
	_, err := f.ns[1].LeaveAll(t.Context(), backplane.All(), long[:fits-2]...)
	require.NoError(t, err)
	require.NoError(t, grant(backplane.All(), long[fits:2*fits-2]))
	assert.Equal(t, fits-1, joined())
	for i := range members {
		f.ns[0].Remove(fmt.Sprint("s", i))
	}
	f.join(0, newSocket("s"))
	require.NoError(t, f.ns[1].Join(t.Context(), "s", long...))
}

// Small requests with large responses take no more memory than the stated budget, and ordinary
// requests have responses meanwhile: 256 requests, 20 kB in all, to a node with 20,000 members of 1
// kB, from Crossroom nodes and from servers that read only one message.
func TestBudgetOfAnswers(t *testing.T) {
	const members, requests = 20_000, 256
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprint("foreign ", foreign), func(t *testing.T) {
			f := newFleetOn(t, &memorybroker.Options{MaxPayload: 64 << 20}, 2, backplane.Options{RequestsTimeout: 3 * time.Second}, func(int) *nsOptions {
				if foreign {
					return &nsOptions{Codec: oneMessage{backplane.NativeCodec()}}
				}
				return nil
			})
			about := make([]byte, 1000)
			for i := range members {
				s := &socket{id: fmt.Sprint("m", i), about: about}
				f.join(1, s, fmt.Sprint("room", i%7))
			}
			f.join(1, newSocket("one"), "only")
			a := newAsker(f, "asker")
			stop := peakheap.Measure()
			began := time.Now()
			sent := 0
			for i := range requests {
				r := &wire.Request{ID: fmt.Sprint("asker.", i), Origin: "asker", Op: wire.OpMembers, Native: true, Detail: true, Except: []string{fmt.Sprint("none", i)}}
				a.ask(f, r)
				sent += len(r.ID) + len(r.Origin) + len(r.Except[0]) + 20
			}
			failed := 0
			for range 20 {
				if m, err := f.ns[0].MembersDetail(t.Context(), backplane.To("only")); err != nil || len(m.List) != 1 {
					failed++
					t.Log(time.Since(began), err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			took := time.Since(began)
			peak := stop()
			t.Logf("%d bytes of requests: at most %d MiB more, %d of 20 ordinary requests failed, %v; %d MiB in %d messages came",
				sent, peak>>20, failed, took, a.bytes.Load()>>20, a.messages.Load())
			assert.Zero(t, failed)
			assert.Less(t, peak, int64(100<<20))
		})
	}
}

// oneMessage is a codec for requesters that read only one message.
type oneMessage struct{ wire.Codec }

func (c oneMessage) DecodeRequest(payload []byte, ns string, r *wire.Request) error {
	err := c.Codec.DecodeRequest(payload, ns, r)
	r.Native = false
	return err
}

// describing counts the calls of its Describe.
type describing struct {
	*socket
	calls *atomic.Int32
}

func (s *describing) Describe() []byte {
	s.calls.Add(1)
	return []byte("said")
}

// slowDescriber counts the calls of Describe that are running.
type slowDescriber struct {
	*socket
	running, most *atomic.Int32
}

func (s *slowDescriber) Describe() []byte {
	n := s.running.Add(1)
	defer s.running.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	time.Sleep(time.Millisecond)
	return nil
}

// A query describes few members at a time.
func TestDescribesFewAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		var running, most atomic.Int32
		for i := range 300 {
			f.join(1, &slowDescriber{newSocket(fmt.Sprint("m", i)), &running, &most})
		}
		m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
		require.NoError(t, err)
		assert.Len(t, m.List, 300)
		assert.EqualValues(t, 64, most.Load())
	})
}

// A large response without a subscriber is not made: its requester has never
// subscribed, or left while its request waited.
func TestResponsesWithoutSubscriber(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		var calls atomic.Int32
		for i := range 300 {
			f.join(0, &describing{newSocket(fmt.Sprint("m", i)), &calls})
		}
		lost := newAsker(f, "another requester")
		for i := range 10 {
			lost.ask(f, &wire.Request{ID: fmt.Sprint("lost.", i), Origin: "lost", Op: wire.OpMembers, Detail: true})
		}
		settle()
		assert.Zero(t, calls.Load())
		assert.Zero(t, lost.messages.Load())

		w := f.wire("leaver")
		w.control(full, "leaver", 1, 1, chat)
		settle()
		w.control(bye, "leaver", 1, 1)
		settle()
		lost.ask(f, &wire.Request{ID: "leaver.1", Origin: "leaver", Op: wire.OpMembers, Detail: true})
		settle()
		assert.Zero(t, calls.Load())
		f.errs[0].none(t)

		there := newAsker(f, "asker")
		there.ask(f, &wire.Request{ID: "asker.1", Origin: "asker", Op: wire.OpMembers, Detail: true})
		settle()
		assert.EqualValues(t, 300, calls.Load())
		assert.EqualValues(t, 1, there.messages.Load())
	})
}

// A repeated request that is still waiting has one response.
func TestRequestThatComesTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{RequestsTimeout: time.Minute, StallTimeout: -1}, nil)
		s := &countingDescriber{socket: newSocket("a"), release: make(chan struct{})}
		f.join(0, s)
		a := newAsker(f, "asker")
		for i := range 4 { // these are in progress
			a.ask(f, &wire.Request{ID: fmt.Sprint("asker.first", i), Origin: "asker", Op: wire.OpMembers, Detail: true})
		}
		settle()
		for i := range 300 {
			a.ask(f, &wire.Request{ID: fmt.Sprint("asker.", i%3), Origin: "asker", Op: wire.OpMembers, Detail: true})
		}
		settle()
		close(s.release)
		settle()
		assert.EqualValues(t, 4+3, a.messages.Load())
		assert.EqualValues(t, 4+1, s.calls.Load())
		assert.EqualValues(t, 304, f.nodes[0].Stats().Served)
	})
}

// The description of one member has a limit. A member that exceeds it is listed without
// description, on this node and on others. That is reported.
func TestMembersThatSayTooMuch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		for i, size := range []int{backplane.MaxDescription, backplane.MaxDescription + 1, backplane.MaxDescription + 1, 900_000} {
			f.socket(1, fmt.Sprint("m", i)).about = make([]byte, size)
		}
		for _, ns := range f.ns {
			m, err := ns.MembersDetail(t.Context(), backplane.All())
			assert.NoError(t, err)
			assert.Len(t, m.List, 4)
			for _, info := range m.List {
				assert.Equal(t, info.ID == "m0", info.Data != nil, info.ID)
			}
		}
		settle()
		time.Sleep(2 * time.Second)
		settle()
		reports, members := f.errs[1].take(), 0
		for _, err := range reports {
			e, size := new(backplane.OpError), new(broker.PayloadError)
			require.ErrorAs(t, err, &e)
			require.ErrorAs(t, err, &size)
			assert.Equal(t, backplane.MaxDescription, size.Max)
			assert.Equal(t, "describe", e.Op)
			members += 1 + e.More
		}
		assert.Len(t, reports, 5, "four at once, then one")
		assert.Equal(t, 6, members, "three, twice")
	})
}

// A response that must be one message has a limit besides that of the broker. Members beyond it are
// listed without descriptions.
func TestLimitOfOneMessage(t *testing.T) {
	const members, each = 500, 64_000
	f := newFleetOn(t, &memorybroker.Options{MaxPayload: 64 << 20}, 2, backplane.Options{RequestsTimeout: time.Minute}, func(int) *nsOptions {
		return &nsOptions{Codec: oneMessage{backplane.NativeCodec()}}
	})
	about := make([]byte, each)
	for i := range members {
		f.join(1, &socket{id: fmt.Sprint("m", i), about: about})
	}
	m, err := f.ns[0].MembersDetail(t.Context(), backplane.All())
	assert.NoError(t, err)
	assert.Len(t, m.List, members)
	said := 0
	for _, info := range m.List {
		said += len(info.Data)
	}
	assert.InDelta(t, 24<<20, said, 5<<20)
	var reports []error
	require.Eventually(t, func() bool {
		reports = append(reports, f.errs[1].take()...)
		return len(reports) > 0
	}, 10*time.Second, time.Millisecond)
	assert.ErrorContains(t, reports[0], "of 500 members say")
}
