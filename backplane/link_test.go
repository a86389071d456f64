package backplane_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// linkLog notes the order of messages and outages.
type linkLog struct {
	observe.Nop
	noted[string]
}

func (l *linkLog) Interrupted(ns string, err error) { l.add(fmt.Sprintf("%s down: %v", ns, err)) }
func (l *linkLog) Resumed(ns string, d time.Duration) {
	l.add(fmt.Sprintf("%s up after %v", ns, d))
}

// An outage has its place between two messages. Local delivery is not affected.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log linkLog
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Observers: []observe.Observer{&onlyNamespace{&log}}}, nil)
		f.add(&backplane.Options{}, nil)
		f.meet()
		a, b := f.socket(0, "a"), f.socket(1, "b")
		log.take()
		a.onDeliver = func() { log.add("message") }
		why := errors.New("cable")

		f.broadcast(1, "1", backplane.All())
		settle()
		memorytest.Cut(f.brokers[0], why)
		f.broadcast(1, "missed", backplane.All())
		time.Sleep(3 * time.Second)
		f.broadcast(0, "own", backplane.All())
		assert.Equal(t, []string{"1", "own"}, a.all(), "a") // at once, on this goroutine
		settle()
		assert.Equal(t, []string{"1", "missed"}, b.all(), "b does not hear")
		assert.ErrorIs(t, ofNamespace(t, f.errs[0]), why, "reported")
		memorytest.Heal(f.brokers[0])
		f.broadcast(1, "2", backplane.All())
		settle()
		assert.Equal(t, []string{"2"}, a.all(), "a")
		assert.Equal(t, []string{"2", "own"}, b.all(), "b hears later")
		assert.Equal(t, []string{"message", "/chat down: cable", "message", "/chat up after 3s", "message"}, log.take(), "order")
		st := f.nodes[0].Stats()
		assert.EqualValues(t, 1, st.Interruptions, "stats %+v", st)
		f.errs[1].none(t)
	})
}

// onlyNamespace removes the reports of the control channel.
type onlyNamespace struct{ *linkLog }

func (o *onlyNamespace) Interrupted(ns string, err error) {
	if ns != "" {
		o.linkLog.Interrupted(ns, err)
	}
}

func (o *onlyNamespace) Resumed(ns string, d time.Duration) {
	if ns != "" {
		o.linkLog.Resumed(ns, d)
	}
}

// ofNamespace takes the only InterruptedError that does not concern the control channel.
func ofNamespace(t *testing.T, log *errorLog) (found *backplane.InterruptedError) {
	t.Helper()
	for _, err := range log.take() {
		ie, ok := errors.AsType[*backplane.InterruptedError](err)
		switch {
		case !ok:
			t.Errorf("reported %v", err)
		case ie.Namespace == chat && found == nil:
			found = ie
		case ie.Namespace != "":
			t.Errorf("reported %v", err)
		}
	}
	require.NotNil(t, found, "the outage was not reported")
	return found
}

// A message that the broker accepted and lost is reported to its sender.
func TestLossIsReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleetOn(t, &memorybroker.Options{OutboxAge: 10 * time.Second}, 2, backplane.Options{}, nil)
		b := f.socket(1, "b")
		memorytest.Cut(f.brokers[0], nil)
		settle()
		f.errs[0].take()
		for range 5 {
			f.broadcast(0, "x", backplane.All())
		}
		time.Sleep(11 * time.Second)
		settle()
		lost := 0
		for _, err := range f.errs[0].take() {
			if le, ok := errors.AsType[*lossError](err); ok {
				lost += le.Messages
			} else {
				t.Errorf("reported %v", err)
			}
		}
		memorytest.Heal(f.brokers[0])
		f.broadcast(0, "marker", backplane.All())
		settle()
		assert.Equal(t, []string{"marker"}, b.all(), "b")
		if lost < 5 || lost > 6 { // and perhaps one heartbeat
			t.Errorf("%d messages were reported as lost", lost)
		}
	})
}
