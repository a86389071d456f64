package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A handler that panics does not stop the reports, and the logger has them all.
func TestErrorHandlerAndLogger(t *testing.T) {
	var log lockedBuffer
	calls := make(chan error, 16)
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		OnError: func(err error) { calls <- err; panic("handler") },
	})
	n.addSocket(t, &bomb{newSocket("bomb")})
	for range 2 {
		ok(t, n.ns.Emit(t.Context(), "x"))
		var p *backplane.PanicError
		err := <-calls
		if assert.ErrorAs(t, err, &p) {
			assert.Equal(t, "bomb", p.Member)
		}
	}
	eventually(t, "both panics are counted", func() bool { return n.Stats().Unreported == 2 })
	assert.Equal(t, 2, strings.Count(log.String(), "boom"), "the log:\n%s", &log)
}

// With several links an error names its link.
func TestErrorsNameTheirLink(t *testing.T) {
	n := newGenerations().onBoth(t, adapter.Options{})
	second := n.Links()[1].Broker.(*memorybroker.Broker)
	memorytest.Cut(second, errors.New("cable"))
	defer memorytest.Heal(second)
	eventually(t, "reported", func() bool {
		return slices.ContainsFunc(n.errors.all(), func(err error) bool {
			var link *adapter.LinkError
			var cut *backplane.InterruptedError
			return errors.As(err, &link) && link.Prefix == "v5" && errors.As(err, &cut) && cut.Namespace == chat
		})
	})
}

// Each message that cannot be passed on to another link is reported.
func TestBridgeReportsLosses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := generations{memorybroker.NewBus(&memorybroker.Options{OutboxMessages: 1}), memorybroker.NewBus(nil)}
		both, old := g.onBoth(t, adapter.Options{Bridge: &adapter.Bridge{}}), g.onV5(t)
		new := g.onV6(t).add(t, "new")
		here := both.add(t, "here")
		eventually(t, "it passes on", func() bool {
			ok(t, old.ns.Emit(t.Context(), "probe"))
			return len(new.packets) > 0
		})
		memorytest.Cut(both.broker, errors.New("cable"))
		defer memorytest.Heal(both.broker)
		const messages = 10
		for range messages {
			ok(t, old.ns.Emit(t.Context(), "x"))
		}
		ok(t, old.ns.Emit(t.Context(), "end"))
		here.until(t, "end")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_ = both.Close(ctx)
		eventually(t, "the lost ones are reported", func() bool {
			lost := 0
			for _, err := range both.errors.all() {
				var link *adapter.LinkError
				var loss *broker.LossError
				if errors.As(err, &link) && link.Prefix == "v6" && errors.As(err, &loss) {
					lost += loss.Messages
				}
			}
			return lost >= messages-1 // one may be in the broker's outbox
		})
	})
}

// While the handler is busy, many unreadable messages become one report that counts all of
// them.
func TestSlowErrorHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus, release, calls := memorybroker.NewBus(nil), make(chan struct{}), make(chan error, 1024)
		n := newNode(t, bus, adapter.Options{OnError: func(err error) {
			<-release
			calls <- err
		}})
		s, stranger := n.add(t, "s"), bus.Broker()
		const messages = 2000
		for range messages {
			ok(t, stranger.Publish(t.Context(), broker.SocketIO.Broadcast(chat), []byte("x")))
		}
		ok(t, n.ns.Emit(t.Context(), "end"))
		s.until(t, "end") // the handler delays no message
		synctest.Wait()
		close(release)
		ok(t, stranger.Close(t.Context()))
		ok(t, n.Close(t.Context()))
		close(calls)
		reported := 0
		for err := range calls {
			var d *backplane.MessageError
			require.ErrorAs(t, err, &d)
			reported += 1 + d.More
		}
		st := n.Stats()
		assert.Equal(t, messages, reported)
		assert.Zero(t, st.Unreported)
	})
}
