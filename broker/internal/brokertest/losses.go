package brokertest

import (
	"sync"
	"testing"

	"github.com/crossroom/crossroom/broker"
)

// Losses sums what OnLoss tells.
type Losses struct {
	mu              sync.Mutex
	lost, uncertain int
	// Came has a value after a loss was told.
	Came chan struct{}
}

// WatchLosses begins to listen, until the test ends.
func WatchLosses(t testing.TB, b broker.Broker) *Losses {
	l := &Losses{Came: make(chan struct{}, 1)}
	t.Cleanup(b.OnLoss(func(loss broker.Loss) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if loss.Uncertain {
			l.uncertain += loss.Messages
		} else {
			l.lost += loss.Messages
		}
		select {
		case l.Came <- struct{}{}:
		default:
		}
	}))
	return l
}

// Sum returns how many messages were told of so far.
func (l *Losses) Sum() (lost, uncertain int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost, l.uncertain
}

// Balanced checks that every accepted message is accounted for, and told. It returns
// the Stats.
func Balanced(t testing.TB, b broker.Broker, l *Losses) broker.Stats {
	t.Helper()
	s := b.Stats()
	if s.Accepted != s.Sent+s.Lost+s.Uncertain+uint64(s.QueuedMessages) {
		t.Errorf("messages without an account: %+v", s)
	}
	if lost, uncertain := l.Sum(); uint64(lost) != s.Lost || uint64(uncertain) != s.Uncertain {
		t.Errorf("OnLoss told of %d lost and %d uncertain, Stats of %d and %d", lost, uncertain, s.Lost, s.Uncertain)
	}
	return s
}
