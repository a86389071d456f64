package memorybroker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// recorder records the calls of a receiver, one line each.
type recorder struct {
	events chan string

	mu   sync.Mutex
	gate chan struct{} // calls block until it is closed; nil: they do not
}

func newRecorder() *recorder { return &recorder{events: make(chan string, 1<<16)} }

func (r *recorder) event(format string, args ...any) {
	r.events <- fmt.Sprintf(format, args...)
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (r *recorder) Deliver(_ broker.Channel, payload []byte) { r.event("%s", payload) }
func (r *recorder) Interrupted(err error) {
	var loss *broker.LossError
	if errors.As(err, &loss) {
		r.event("interrupted, %d messages of %d bytes missed", loss.Messages, loss.Bytes)
		return
	}
	r.event("interrupted: %v", err)
}
func (r *recorder) Resumed() { r.event("resumed") }

// hold makes calls block after they are recorded.
func (r *recorder) hold() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := make(chan struct{})
	r.gate = gate
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gate = nil
		close(gate)
	}
}

func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	for i, w := range want {
		select {
		case got := <-r.events:
			require.Equal(t, w, got, "event %d", i)
		case <-t.Context().Done():
			t.Fatalf("event %d: nothing, want %q", i, w)
		}
	}
}

// nothing checks that the test expected all recorded events. Use it after a marker, or in a bubble where all
// goroutines wait.
func (r *recorder) nothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-r.events:
		t.Fatalf("unexpected: %q", got)
	default:
	}
}

var lobby = broker.Native.Room("/chat", "lobby")

func publish(t *testing.T, b broker.Broker, ch broker.Channel, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		require.NoError(t, b.Publish(t.Context(), ch, []byte(p)), "publishing %q", p)
	}
}

func subscribe(t *testing.T, b broker.Broker, filters ...broker.Filter) (*recorder, broker.Subscription) {
	t.Helper()
	r := newRecorder()
	s, err := b.Subscribe(t.Context(), r, filters...)
	require.NoError(t, err)
	return r, s
}

// closing closes brokers, without errors.
func closing(t *testing.T, brokers ...*memorybroker.Broker) {
	t.Helper()
	for _, b := range brokers {
		assert.NoError(t, b.Close(context.Background()))
	}
}
