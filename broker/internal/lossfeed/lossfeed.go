// Package lossfeed keeps the functions given to OnLoss, for brokers.
package lossfeed

import (
	"slices"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

// Listeners are the functions given to OnLoss, in the order they came. The zero value
// has none.
type Listeners struct {
	mu   sync.Mutex
	list []*func(broker.Loss)
}

// Add registers f until the function it returns is called.
func (l *Listeners) Add(f func(broker.Loss)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A new slice each time: Tell reads the old one without the lock.
	l.list = append(slices.Clip(l.list), &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = slices.DeleteFunc(slices.Clone(l.list), func(g *func(broker.Loss)) bool { return g == &f })
	}
}

// Tell calls the functions. It is for one goroutine alone, so that calls never
// overlap.
func (l *Listeners) Tell(loss broker.Loss) {
	l.mu.Lock()
	list := l.list
	l.mu.Unlock()
	for _, f := range list {
		(*f)(loss)
	}
}
