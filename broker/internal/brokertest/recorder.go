package brokertest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Call is one call of a receiver.
type Call struct {
	What    string // "deliver", "interrupted" or "resumed"
	Ch      broker.Channel
	Payload string
	Err     error
}

func (c Call) String() string {
	if c.What == "deliver" {
		return fmt.Sprintf("%v: %.60q", c.Ch, c.Payload)
	}
	return fmt.Sprintf("%s %v", c.What, c.Err)
}

// Recorder is a receiver that records every call, in order, and checks that calls do not overlap.
type Recorder struct {
	t     testing.TB
	calls chan Call
	inner sync.Mutex
}

// Record makes a recorder.
func Record(t testing.TB) *Recorder { return &Recorder{t: t, calls: make(chan Call, 1<<18)} }

func (r *Recorder) add(c Call) {
	if !r.inner.TryLock() {
		r.t.Error("two calls of a receiver at the same time")
		return
	}
	defer r.inner.Unlock()
	r.calls <- c
}

// Deliver implements broker.Receiver.
func (r *Recorder) Deliver(ch broker.Channel, payload []byte) {
	r.add(Call{What: "deliver", Ch: ch, Payload: string(payload)})
}

// Interrupted implements broker.Receiver.
func (r *Recorder) Interrupted(err error) { r.add(Call{What: "interrupted", Err: err}) }

// Resumed implements broker.Receiver.
func (r *Recorder) Resumed() { r.add(Call{What: "resumed"}) }

// Next returns the next call.
func (r *Recorder) Next() Call {
	r.t.Helper()
	c, ok := r.NextWithin(Patience)
	if !ok {
		r.t.Fatal("no call came")
	}
	return c
}

// NextWithin returns the next call, and false if none comes within d.
func (r *Recorder) NextWithin(d time.Duration) (Call, bool) {
	select {
	case c := <-r.calls:
		return c, true
	case <-time.After(d):
		return Call{}, false
	}
}

// Want checks that the next call is the delivery of payload on ch.
func (r *Recorder) Want(ch broker.Channel, payload string) {
	r.t.Helper()
	if c := r.Next(); c.What != "deliver" || c.Ch != ch || c.Payload != payload {
		r.t.Fatalf("got %v, want %v: %.60q", c, ch, payload)
	}
}

// WantCall checks that the next call is Interrupted or Resumed.
func (r *Recorder) WantCall(what string) Call {
	r.t.Helper()
	c := r.Next()
	if c.What != what {
		r.t.Fatalf("got %v, want %s", c, what)
	}
	return c
}

// WantNothing checks that there were no other calls so far.
func (r *Recorder) WantNothing() {
	r.t.Helper()
	if len(r.calls) > 0 {
		r.t.Fatalf("got %v, want nothing", <-r.calls)
	}
}

// Until reads calls up to the delivery of payload and returns those before it.
func (r *Recorder) Until(payload string) []Call {
	r.t.Helper()
	var before []Call
	for {
		c := r.Next()
		if c.What == "deliver" && c.Payload == payload {
			return before
		}
		before = append(before, c)
	}
}

// Gate is a recorder that blocks deliveries until Open is closed.
type Gate struct {
	*Recorder
	Entered chan struct{} // has a value once a delivery is blocked
	Open    chan struct{}
}

// NewGate makes a closed gate.
func NewGate(t testing.TB) *Gate {
	return &Gate{Recorder: Record(t), Entered: make(chan struct{}, 1), Open: make(chan struct{})}
}

// Deliver implements broker.Receiver.
func (g *Gate) Deliver(ch broker.Channel, payload []byte) {
	select {
	case g.Entered <- struct{}{}:
	default:
	}
	<-g.Open
	g.Recorder.Deliver(ch, payload)
}
