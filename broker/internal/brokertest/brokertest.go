// Package brokertest has common parts of the brokers' tests: receivers that record their calls, a record of losses,
// and whole tests of brokers whose server is a process that can be killed and frozen.
//
// Package conformance tests the promises of every broker. The tests here go further for the brokers of this project:
// they know how soon an outage is noticed, what an error wraps, and how many messages may be uncertain.
package brokertest

import (
	"context"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Patience is how long a test waits for an event that must come.
const Patience = 20 * time.Second

// Within returns a context that ends after d, or with the test.
func Within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// CloseLater closes a broker at the end of the test.
func CloseLater(t testing.TB, b broker.Broker) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		b.Close(ctx)
	})
}

// Subscribe makes a subscription, which must succeed.
func Subscribe(t testing.TB, b broker.Broker, r broker.Receiver, filters ...broker.Filter) broker.Subscription {
	t.Helper()
	sub, err := b.Subscribe(Within(t, Patience), r, filters...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// Publish publishes a message, which must be accepted.
func Publish(t testing.TB, b broker.Broker, ch broker.Channel, payload string) {
	t.Helper()
	if err := b.Publish(Within(t, Patience), ch, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

// Flush waits until all messages are sent. None may be lost.
func Flush(t testing.TB, b broker.Broker) {
	t.Helper()
	if err := b.Flush(Within(t, Patience)); err != nil {
		t.Fatal(err)
	}
}

// Eventually repeats try until it returns nil.
func Eventually(t testing.TB, try func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // between two attempts
	}
}
