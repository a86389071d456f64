package redisbroker

import (
	"slices"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

// lossListeners are the functions given to OnLoss, in the order they came.
type lossListeners struct {
	mu   sync.Mutex
	list []*func(broker.Loss)
}

// add registers f until the function it returns is called.
func (l *lossListeners) add(f func(broker.Loss)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A new slice each time: tell reads the old one without the lock.
	l.list = append(slices.Clip(l.list), &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = slices.DeleteFunc(slices.Clone(l.list), func(g *func(broker.Loss)) bool { return g == &f })
	}
}

// tell is called by the publisher's goroutine alone, so calls never overlap.
func (l *lossListeners) tell(loss broker.Loss) {
	l.mu.Lock()
	list := l.list
	l.mu.Unlock()
	for _, f := range list {
		(*f)(loss)
	}
}
