package natsbroker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// quick are options with which outages are noticed soon.
func quick() *natsbroker.Options {
	return &natsbroker.Options{
		ProbeInterval: 200 * time.Millisecond,
		ProbeTimeout:  1500 * time.Millisecond, // a busy machine is not a dead server
		BackoffMin:    5 * time.Millisecond,
		BackoffMax:    50 * time.Millisecond,
	}
}

// open makes a broker and closes it with the test.
func open(t testing.TB, url string, opts *natsbroker.Options) *natsbroker.Broker {
	t.Helper()
	b, err := natsbroker.Open(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, b)
	return b
}

func closeLater(t testing.TB, b *natsbroker.Broker) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		b.Close(ctx)
	})
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// call is one call of a receiver, as text: "interrupted", "resumed", or the channel
// and payload of a delivery.
type call struct {
	what    string
	ch      broker.Channel
	payload string
	err     error
}

func (c call) String() string {
	if c.what == "deliver" {
		return fmt.Sprintf("%v: %.60q", c.ch, c.payload)
	}
	return fmt.Sprintf("%s %v", c.what, c.err)
}

// recorder is a receiver that keeps every call, in order, and checks that they do
// not overlap.
type recorder struct {
	t     testing.TB
	calls chan call
	inner sync.Mutex
}

func record(t testing.TB) *recorder { return &recorder{t: t, calls: make(chan call, 1<<18)} }

func (r *recorder) add(c call) {
	if !r.inner.TryLock() {
		r.t.Error("two calls of a receiver at the same time")
		return
	}
	defer r.inner.Unlock()
	r.calls <- c
}

func (r *recorder) Deliver(ch broker.Channel, payload []byte) {
	r.add(call{what: "deliver", ch: ch, payload: string(payload)})
}
func (r *recorder) Interrupted(err error) { r.add(call{what: "interrupted", err: err}) }
func (r *recorder) Resumed()              { r.add(call{what: "resumed"}) }

// next returns the next call.
func (r *recorder) next() call {
	r.t.Helper()
	select {
	case c := <-r.calls:
		return c
	case <-time.After(patience):
		r.t.Fatal("nothing came")
		return call{}
	}
}

// want checks that the next call is the delivery of payload on ch.
func (r *recorder) want(ch broker.Channel, payload string) {
	r.t.Helper()
	if c := r.next(); c.what != "deliver" || c.ch != ch || c.payload != payload {
		r.t.Fatalf("got %v, want %v: %.60q", c, ch, payload)
	}
}

// wantCall checks that the next call is Interrupted or Resumed.
func (r *recorder) wantCall(what string) call {
	r.t.Helper()
	c := r.next()
	if c.what != what {
		r.t.Fatalf("got %v, want %s", c, what)
	}
	return c
}

// until reads calls up to the delivery of payload and returns those before it.
func (r *recorder) until(payload string) []call {
	r.t.Helper()
	var before []call
	for {
		c := r.next()
		if c.what == "deliver" && c.payload == payload {
			return before
		}
		before = append(before, c)
	}
}

func subscribe(t testing.TB, b broker.Broker, r broker.Receiver, filters ...broker.Filter) broker.Subscription {
	t.Helper()
	sub, err := b.Subscribe(within(t, patience), r, filters...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func publish(t testing.TB, b broker.Broker, ch broker.Channel, payload string) {
	t.Helper()
	if err := b.Publish(within(t, patience), ch, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func flush(t testing.TB, b broker.Broker) {
	t.Helper()
	if err := b.Flush(within(t, patience)); err != nil {
		t.Fatal(err)
	}
}
