package brokertest

import (
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Losses adds up the losses that OnLoss reports.
type Losses struct {
	mu              sync.Mutex
	lost, uncertain int
	// Came has a value after a loss was reported.
	Came chan struct{}
}

// WatchLosses records losses until the test ends.
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

// Sum returns the number of reported messages.
func (l *Losses) Sum() (lost, uncertain int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost, l.uncertain
}

// Balanced checks that every accepted message is accounted for, and every loss reported, which may come after Flush has
// returned it. It returns the Stats.
func Balanced(t testing.TB, b broker.Broker, l *Losses) broker.Stats {
	t.Helper()
	s := b.Stats()
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if lost, uncertain := l.Sum(); uint64(lost) >= s.Lost && uint64(uncertain) >= s.Uncertain {
			break
		}
	}
	if s.Accepted != s.Sent+s.Lost+s.Uncertain+uint64(s.QueuedMessages) {
		t.Errorf("messages are not accounted for: %+v", s)
	}
	if lost, uncertain := l.Sum(); uint64(lost) != s.Lost || uint64(uncertain) != s.Uncertain {
		t.Errorf("OnLoss reported %d lost and %d uncertain, Stats counts %d and %d", lost, uncertain, s.Lost, s.Uncertain)
	}
	return s
}
