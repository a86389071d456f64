package inbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
)

var (
	room     = broker.Native.Room("/", "room")
	other    = broker.Native.Room("/", "other")
	requests = broker.Native.Requests("/")

	errDown = errors.New("down")
	errLate = errors.New("late")
)

// receiver records its calls as text: "+" for Resumed, and "-" and the error for Interrupted. While it is held,
// Deliver blocks.
type receiver struct {
	calls []string
	held  chan struct{} // nil if it is not held
	errs  []error
}

func (r *receiver) Deliver(ch broker.Channel, payload []byte) {
	if r.held != nil {
		<-r.held
	}
	r.calls = append(r.calls, string(payload))
}

func (r *receiver) Interrupted(err error) {
	r.calls = append(r.calls, "-")
	r.errs = append(r.errs, err)
}

func (r *receiver) Resumed() { r.calls = append(r.calls, "+") }

// box is an inbox with its receiver, in a bubble.
type box struct {
	*inbox.Inbox
	t      *testing.T
	r      *receiver
	counts *inbox.Counts
}

// cost is the cost of a message of one byte.
const cost = 128 + 1

// open makes an inbox with room for that many messages of one byte. It runs until the end of the test.
func open(t *testing.T, r broker.Receiver, messages int, patience time.Duration) *box {
	counts := inbox.NewCounts()
	opts := inbox.Options{Bytes: messages * cost, PerMessage: inbox.MessageCost, Counts: counts}
	if patience > 0 {
		opts.Waits = inbox.NewWaits(patience)
	}
	in := inbox.New(r, opts)
	go in.Run()
	t.Cleanup(func() { in.Shut(); <-in.Done() })
	rec, _ := r.(*receiver)
	return &box{Inbox: in, t: t, r: rec, counts: counts}
}

// stuck makes an inbox whose receiver blocks in the delivery of "0" until release.
func stuck(t *testing.T, messages int, patience time.Duration) (b *box, release func()) {
	r := &receiver{held: make(chan struct{})}
	b = open(t, r, messages, patience)
	b.put("0")
	synctest.Wait()
	open := false
	release = func() {
		if !open {
			open = true
			close(r.held)
		}
	}
	t.Cleanup(release)
	return b, release
}

func (b *box) put(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		require.True(b.t, b.Deliver(b.Epoch(), &room, []byte(text)), "Deliver saw another epoch")
	}
}

// want waits until all calls are made, and compares them.
func (b *box) want(calls ...string) {
	b.t.Helper()
	synctest.Wait()
	require.Equal(b.t, calls, b.r.calls)
}

func (b *box) stats() (s broker.Stats) {
	b.counts.Fill(&s)
	return s
}

func bubble(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }

func TestOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 10, 0)
		b.put("1", "2")
		b.Interrupt(errDown)
		b.Resume()
		b.put("3")
		release()
		b.want("0", "1", "2", "-", "+", "3")
		require.Equal(t, errDown, b.r.errs[0], "Interrupted gets the unwrapped reason")
		s := b.stats()
		require.EqualValues(t, 4, s.Received)
		require.EqualValues(t, 1, s.Interruptions)
	})
}

// TestWaits: without a limit Deliver waits for room, however long.
func TestWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 2, 0)
		b.put("1", "2")
		done := make(chan bool, 1)
		go func() { done <- b.Deliver(b.Epoch(), &room, []byte("3")) }()
		time.Sleep(1000 * time.Hour)
		require.Empty(t, done, "did not wait")
		release()
		require.True(t, <-done, "another epoch")
		b.want("0", "1", "2", "3")
	})
}

// TestBytes: a message counts with its payload and PerMessage, and fits if the limit is just reached.
func TestBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receiver{held: make(chan struct{})}
		in := inbox.New(r, inbox.Options{Bytes: 1000, PerMessage: 100, Counts: inbox.NewCounts()})
		go in.Run()
		t.Cleanup(func() { in.Shut(); <-in.Done() })
		b := &box{Inbox: in, t: t, r: r}
		b.put("0")
		synctest.Wait() // in delivery, and not counted
		b.put(strings.Repeat("a", 500), strings.Repeat("b", 300))
		done := make(chan bool, 1)
		go func() { done <- b.Deliver(b.Epoch(), &room, nil) }()
		synctest.Wait()
		require.Empty(t, done, "1000 bytes are used")
		r.held <- struct{}{}
		synctest.Wait()
		require.True(t, <-done, "500 and 300 bytes and two times 100 were left")
		close(r.held)
		synctest.Wait()
		require.Len(t, r.calls, 4)
	})
}

// TestPause: a paused inbox makes no calls, and what was put into it comes afterwards.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := open(t, &receiver{}, 2, 0)
		b.Pause(true)
		b.put("1", "2")
		b.want()
		b.put("missed") // at once: nothing makes room
		b.Pause(false)
		b.want("1", "2", "-", "+")
	})
}

// TestSlow: messages after the limit are counted, and reported in their place once half of the inbox is free.
func TestSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 4, time.Second)
		b.put("1", "2", "3", "4")
		start := time.Now()
		b.put("5", "6", "7")
		require.Equal(t, time.Second, time.Since(start), "waited altogether")
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, b.stats().Interrupted, "interrupted for so far")
		b.r.held <- struct{}{} // "1" is taken out
		b.r.held <- struct{}{} // "2": half is free
		synctest.Wait()
		b.put("8")
		release()
		b.want("0", "1", "2", "3", "4", "-", "+", "8")
		wantLoss(t, b.r.errs[0], 3, broker.ErrSlowReceiver)
		time.Sleep(time.Minute)
		s := b.stats()
		require.EqualValues(t, 1, s.Interruptions)
		require.Equal(t, time.Minute, s.Interrupted)
	})
}

// TestReceiverCatchesUp: Deliver continues as soon as there is room, and no message is missed.
func TestReceiverCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 1, time.Second)
		b.put("1")
		time.AfterFunc(time.Second/2, func() { b.r.held <- struct{}{} })
		b.put("2")
		release()
		b.want("0", "1", "2")
	})
}

// TestWaitsTogether: calls wait for all receivers together as long as the budget allows, and later for a quarter of the
// time, also if there is room again each time.
func TestWaitsTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		waits := inbox.NewWaits(time.Second)
		var boxes []*box
		for range 3 {
			r := &receiver{held: make(chan struct{})}
			in := inbox.New(r, inbox.Options{Bytes: cost, PerMessage: inbox.MessageCost, Waits: waits, Counts: inbox.NewCounts()})
			go in.Run()
			b := &box{Inbox: in, t: t, r: r}
			t.Cleanup(func() { in.Shut(); close(r.held); <-in.Done() })
			b.put("0")
			synctest.Wait()
			b.put("1")
			boxes = append(boxes, b)
		}
		began := time.Now()
		for _, b := range boxes {
			b.put("2") // missed
		}
		require.Equal(t, time.Second, time.Since(began), "waited for three receivers")
	})
}

// unhurried is a receiver that takes 10 ms for each message.
type unhurried struct{ got, missed int }

func (r *unhurried) Deliver(broker.Channel, []byte) {
	time.Sleep(10 * time.Millisecond)
	r.got++
}

func (r *unhurried) Interrupted(err error) {
	var loss *broker.LossError
	if errors.As(err, &loss) {
		r.missed += loss.Messages
	}
}

func (r *unhurried) Resumed() {}

// TestWaitsInTheLongRun: a receiver that is too slow, but makes room all the time, takes a quarter of the reader's time.
func TestWaitsInTheLongRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &unhurried{}
		b := open(t, r, 20, time.Second)
		began := time.Now()
		var waited time.Duration
		sent := 0
		for ; time.Since(began) < time.Minute; sent++ {
			time.Sleep(time.Millisecond) // what the reader does for other receivers
			before := time.Now()
			b.put("x")
			waited += time.Since(before)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.InDelta(t, 0.25, float64(waited)/float64(time.Since(began)), 0.03, "the part of the time that the reader waited")
		require.Equal(t, sent, r.got+r.missed)
	})
}

func wantLoss(t *testing.T, err error, messages int, reasons ...error) {
	t.Helper()
	var loss *broker.LossError
	require.ErrorAs(t, err, &loss)
	require.Equal(t, messages, loss.Messages, "missed messages")
	require.Equal(t, messages, loss.Bytes, "missed messages")
	for _, reason := range reasons {
		require.ErrorIs(t, err, reason)
	}
}

func TestMiss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 10, time.Second)
		b.put("1")
		b.Miss(1, errLate)
		b.Miss(1, errLate)
		b.put("2")
		b.Miss(1, errLate)
		release()
		b.want("0", "1", "-", "+", "2", "-", "+")
		wantLoss(t, b.r.errs[0], 2, errLate)
		wantLoss(t, b.r.errs[1], 1, errLate)
	})
}

// TestGapsJoin: gaps without a message between them are one gap, whatever their causes, and keep the count of missed
// messages.
func TestGapsJoin(t *testing.T) {
	outage := func(b *box) { b.Interrupt(errDown); b.Resume() }
	second := func(b *box) { b.Interrupt(errors.New("a second outage")); b.Resume() }
	late := func(b *box) { b.Miss(1, errLate) }
	full := func(b *box) { b.put("x", "y", "m", "m"); outage(b) } // two messages find no room
	for name, c := range map[string]struct {
		gaps []func(*box)
		want []string
		lost int
		why  []error
	}{
		"outages":              {[]func(*box){outage, second, second}, []string{"-", "+"}, 0, []error{errDown}},
		"outage, missed":       {[]func(*box){outage, late, second}, []string{"-", "+"}, 1, []error{errDown, errLate}},
		"missed, outage":       {[]func(*box){late, late, outage, late}, []string{"-", "+"}, 3, []error{errDown, errLate}},
		"full, outage":         {[]func(*box){full, second}, []string{"x", "y", "-", "+"}, 2, []error{errDown, broker.ErrSlowReceiver}},
		"full, missed, outage": {[]func(*box){full, late, second}, []string{"x", "y", "-", "+"}, 3, []error{errDown, broker.ErrSlowReceiver, errLate}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, release := stuck(t, 2, time.Second)
				for _, gap := range c.gaps {
					gap(b)
				}
				release()
				b.want(append([]string{"0"}, c.want...)...)
				if c.lost > 0 {
					wantLoss(t, b.r.errs[0], c.lost, c.why...)
				} else {
					require.Equal(t, c.why[0], b.r.errs[0], "the first reason")
				}
				s := b.stats()
				require.EqualValues(t, 1, s.Interruptions, "Stats %+v", s)
			})
		})
	}
}

// TestPartialGapsStayApart: a gap of some channels names them, so none becomes a part of another.
func TestPartialGapsStayApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 2, time.Second)
		for _, ch := range []broker.Channel{room, other} {
			b.Interrupt(&broker.GapError{Filters: []broker.Filter{broker.Exactly(ch)}, Err: errDown})
			b.Resume()
		}
		release()
		b.want("0", "-", "+", "-", "+")
		require.ErrorIs(t, b.r.errs[1], errDown)
	})
}

// TestOutageAfterPartialGap: an outage of all channels is reported as one, also if a gap of some channels precedes it.
func TestOutageAfterPartialGap(t *testing.T) {
	partial := func() error {
		return &broker.GapError{Filters: []broker.Filter{broker.Exactly(room)}, Err: errDown}
	}
	outage := func(b *box) {
		b.Resume()
		b.Interrupt(errLate)
		b.Resume()
	}
	for name, message := range map[string]bool{"queued": false, "queued, with a message in it": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, release := stuck(t, 2, time.Second)
				want := []string{"0", "-", "+", "-", "+"}
				b.Interrupt(partial())
				if message {
					b.put("x")
					want = []string{"0", "-", "x", "+", "-", "+"}
				}
				outage(b)
				release()
				b.want(want...)
				require.Equal(t, errLate, b.r.errs[1])
			})
		})
	}
	t.Run("being reported", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := &slowToHear{hears: make(chan struct{})}
			b := open(t, r, 10, 0)
			b.r = &r.receiver
			b.Interrupt(partial())
			synctest.Wait()
			outage(b)
			close(r.hears)
			b.want("-", "+", "-", "+")
			require.Equal(t, errLate, r.errs[1])
		})
	})
}

// slowToHear is a receiver that blocks in Interrupted.
type slowToHear struct {
	receiver
	hears chan struct{}
}

func (r *slowToHear) Interrupted(err error) {
	<-r.hears
	r.receiver.Interrupted(err)
}

// TestGapJoinsOneBeingReported: the receiver gets one call for several outages, but missed messages that come too
// late for a running call have a call of their own.
func TestGapJoinsOneBeingReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &slowToHear{hears: make(chan struct{})}
		b := open(t, r, 10, 0)
		b.r = &r.receiver
		for range 100 {
			b.Interrupt(errDown)
			b.Resume()
			synctest.Wait()
		}
		for range 100 {
			b.Miss(1, errLate)
			b.Interrupt(errDown)
			b.Resume()
		}
		close(r.hears)
		b.want("-", "+", "-", "+")
		require.Equal(t, errDown, r.errs[0], "Interrupted(%v)", r.errs[0])
		wantLoss(t, r.errs[1], 100, errLate, errDown)
	})
}

func TestRetract(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 10, 0)
		before := b.Epoch()
		b.put("1")
		b.Deliver(before, &other, []byte("other"))
		b.Interrupt(errDown)
		b.Resume()
		b.put("2")
		b.Interrupt(errors.New("a second outage"))
		b.Resume()
		b.Deliver(before, &other, []byte("stays"))
		running := b.Retract(func(ch broker.Channel) bool { return ch != room })
		require.False(t, b.Deliver(before, &room, []byte("x")), "delivered what was wanted before Retract")
		require.Nil(t, b.Retract(func(broker.Channel) bool { return true }), "waits for a call that is wanted")
		select {
		case <-running:
			t.Fatal("the call is still running")
		default:
		}
		release()
		<-running
		b.want("0", "other", "-", "+", "stays")
		s := b.stats()
		require.EqualValues(t, 1, s.Interruptions, "Stats %+v, %v", s, b.r.errs)
		require.Equal(t, errDown, b.r.errs[0], "Stats %+v, %v", s, b.r.errs)
	})
}

// TestRetractMakesRoom: a call that waits for room continues, and matches the filters again.
func TestRetractMakesRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 1, 0)
		b.put("1")
		done := make(chan bool, 1)
		go func() { done <- b.Deliver(b.Epoch(), &room, []byte("2")) }()
		synctest.Wait()
		b.Retract(func(broker.Channel) bool { return false })
		require.False(t, <-done, "Deliver did not see the new epoch")
		b.put("3") // does not wait
		release()
		b.want("0", "3")
	})
}

func TestShut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := stuck(t, 1, 0)
		b.put("1")
		b.Interrupt(errDown)
		done := make(chan bool, 1)
		go func() { done <- b.Deliver(b.Epoch(), &room, []byte("2")) }()
		synctest.Wait()
		time.Sleep(time.Minute)
		require.False(t, b.IsShut(), "shut too early")
		b.Shut()
		b.Shut()
		<-b.Quit()
		require.True(t, <-done, "a call that waits for room did not return after Shut")
		require.True(t, b.IsShut(), "a call that waits for room did not return after Shut")
		b.Resume()
		b.Interrupt(errDown)
		b.Miss(1, errLate)
		b.put("3")
		select {
		case <-b.Done():
			t.Fatal("did not wait for the running call")
		default:
		}
		release()
		<-b.Done()
		b.want("0")
		time.Sleep(time.Minute)
		s := b.stats()
		require.Equal(t, time.Minute, s.Interrupted, "Stats %+v", s)
	})
}

// choosy is a Prefilter that wants no messages of rooms.
type choosy struct {
	receiver
	asked int
}

func (c *choosy) Wants(broker.Channel) bool { c.asked++; return false }

// TestWants: Wants is called only about rooms, and only when all messages on other channels have been handled.
func TestWants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		require.True(t, open(t, &receiver{}, 1, 0).Wants(&room), "a receiver without Wants must get everything")
		c := &choosy{receiver: receiver{held: make(chan struct{})}}
		b := open(t, c, 10, 0)
		require.False(t, b.Wants(&room))
		require.True(t, b.Wants(&requests))
		require.Equal(t, 1, c.asked)
		b.Deliver(b.Epoch(), &requests, []byte("join"))
		for range 2 { // queued, and being delivered
			require.True(t, b.Wants(&room), "Wants was called before the request was handled")
			require.Equal(t, 1, c.asked, "Wants was called before the request was handled")
			synctest.Wait()
		}
		close(c.held)
		synctest.Wait()
		require.False(t, b.Wants(&room), "Wants was not called after the request was handled")
	})
}

// tryReceiver accepts a message if it has room.
type tryReceiver struct {
	receiver
	places int
	took   []string
}

func (r *tryReceiver) TryDeliver(_ broker.Channel, payload []byte) bool {
	if r.places == 0 {
		return false
	}
	r.places--
	r.took = append(r.took, string(payload))
	return true
}

// TestTake: a TryReceiver gets a message at once, but never one that would overtake another.
func TestTake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &tryReceiver{receiver: receiver{held: make(chan struct{})}, places: 1}
		b := open(t, r, 10, 0)
		b.r = &r.receiver
		b.put("taken", "1")
		synctest.Wait()
		r.places = 10
		b.put("2") // "1" is being delivered
		close(r.held)
		b.want("1", "2")
		b.Interrupt(errDown)
		b.Resume()
		b.put("3") // behind the gap
		b.want("1", "2", "-", "+", "3")
		b.put("taken again")
		require.Equal(t, "[taken taken again]", fmt.Sprint(r.took))
		s := b.stats()
		require.EqualValues(t, 5, s.Received, "Stats %+v", s)
	})
}
