package brokertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// WrongPassword tests a broker whose password the server rejects, and whose messages are too old after a fraction of a
// second. refused reports whether an error has the server's reason. tooOld is the error of a lost message.
func WrongPassword(t *testing.T, b broker.Broker, refused func(error) bool, tooOld error) {
	room := broker.Native.Room("/", "room")
	losses := WatchLosses(t, b)
	if _, err := b.Subscribe(Within(t, Patience), Record(t), broker.Exactly(room)); !refused(err) {
		t.Fatalf("Subscribe: %v, want the server's refusal", err)
	}
	if b.Capabilities().CountsSubscribers {
		if _, err := b.Subscribers(Within(t, Patience), room); !refused(err) {
			t.Fatalf("Subscribers: %v, want the server's refusal", err)
		}
	}
	// The waiting message gets too old, and the loss has the reason of the wait.
	Publish(t, b, room, "never sent")
	err := b.Flush(Within(t, Patience))
	var loss *broker.LossError
	if !errors.As(err, &loss) || loss.Messages != 1 || loss.Bytes != 10 || loss.Uncertain || !errors.Is(err, tooOld) || !refused(err) {
		t.Fatalf("Flush: %v, want one message lost, too old, because of the refusal", err)
	}
	if err := b.Flush(Within(t, Patience)); err != nil {
		t.Fatalf("second Flush: %v, want nil: the loss has been reported", err)
	}
	<-losses.Came
	if s := Balanced(t, b, losses); s.Lost != 1 || s.Sent != 0 {
		t.Fatalf("Stats %+v", s)
	}
}

// Permissions tests a broker with permission for the broadcasts of the namespace "/chat" of a protocol, and for
// nothing else. refused reports whether an error means that the server did not allow what: "EveryRoom", "Exactly" or
// "Publish".
func Permissions(t *testing.T, b broker.Broker, w broker.Protocol, refused func(err error, what string) bool) {
	losses := WatchLosses(t, b)
	r := Record(t)
	sub := Subscribe(t, b, r, w.EveryRoom("/chat"))

	// A refused filter, alone or among many, leaves nothing behind and does not disturb others.
	if _, err := b.Subscribe(Within(t, Patience), Record(t), w.EveryRoom("/other")); !refused(err, "EveryRoom") {
		t.Fatalf("Subscribe: %v, want a refusal", err)
	}
	filters := []broker.Filter{broker.Exactly(w.Room("/secret", "x"))}
	for i := range 50 {
		filters = append(filters, broker.Exactly(w.Room("/chat", fmt.Sprint(i))))
	}
	allowed := make(chan error, 1)
	go func() { allowed <- sub.Add(Within(t, Patience), broker.Exactly(w.Room("/chat", "fine"))) }()
	if err := sub.Add(Within(t, Patience), filters...); !refused(err, "Exactly") {
		t.Fatalf("Add: %v, want a refusal", err)
	}
	if err := <-allowed; err != nil {
		t.Fatalf("an allowed Add beside a refused one: %v", err)
	}
	if s := b.Stats(); s.Subscriptions != 2 || s.Interruptions != 0 {
		t.Fatalf("Stats %+v, want 2 filters and no interruption", s)
	}

	Publish(t, b, w.Room("/chat", "a"), "allowed")
	Publish(t, b, w.Room("/other", "a"), "forbidden")
	Publish(t, b, w.Room("/chat", "fine"), "allowed too")
	err := b.Flush(Within(t, Patience))
	var loss *broker.LossError
	if !errors.As(err, &loss) || loss.Messages != 1 || loss.Bytes != len("forbidden") || loss.Uncertain || !refused(err, "Publish") {
		t.Fatalf("Flush: %v, want one message lost for its permission", err)
	}
	r.Want(w.Room("/chat", "a"), "allowed")
	r.Want(w.Room("/chat", "fine"), "allowed too")
	<-losses.Came
	if s := Balanced(t, b, losses); s.Sent != 2 || s.Lost != 1 {
		t.Fatalf("Stats %+v", s)
	}
}

// DialerThatHangs tests that no call waits for a dialer that ignores its context.
func DialerThatHangs(t *testing.T, b broker.Broker) {
	room := broker.Native.Room("/", "room")
	Publish(t, b, room, "waits")
	if _, err := b.Subscribe(Within(t, 20*time.Millisecond), Record(t), broker.Exactly(room)); err != context.DeadlineExceeded {
		t.Errorf("Subscribe: %v, want the context's error", err)
	}
	if err := b.Flush(Within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
		t.Errorf("Flush: %v, want the context's error", err)
	}
	start := time.Now()
	var loss *broker.LossError
	err := b.Close(Within(t, 20*time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &loss) || loss.Messages != 1 || loss.Uncertain {
		t.Errorf("Close: %v, want one message lost and the context's error", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}
