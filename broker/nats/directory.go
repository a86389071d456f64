package natsbroker

import (
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

// address is where a channel's messages go.
type address struct {
	ch      broker.Channel
	subject string
	names   []byte // as they go into a frame, if they do
	// here are the subscriptions of this broker that the messages are for. The subscriber
	// sets it, and takes it away as soon as it may be another one.
	here atomic.Pointer[[]*subscription]
}

// directory remembers the addresses of channels. It is safe for concurrent use.
type directory struct {
	names *naming

	mu sync.RWMutex
	by map[broker.Channel]*address
}

// addressesKept is how many addresses are remembered.
const addressesKept = 1 << 13

func newDirectory(names *naming) *directory {
	return &directory{names: names, by: map[broker.Channel]*address{}}
}

// address returns where a channel's messages go, or the error of naming.check.
func (d *directory) address(ch broker.Channel) (*address, error) {
	d.mu.RLock()
	a := d.by[ch]
	d.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	if err := d.names.check(ch); err != nil {
		return nil, err
	}
	// The caller's names may be parts of something large.
	ch = ch.Clone()
	a = &address{ch: ch, subject: d.names.subject(ch)}
	if hashed(ch) {
		a.names = appendNames(nil, ch)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.by) >= addressesKept {
		clear(d.by)
	}
	d.by[ch] = a
	return a, nil
}

// forget forgets all addresses. Those that are still in use are found out again.
func (d *directory) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.by)
}
