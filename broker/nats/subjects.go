package natsbroker

import (
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

// target is where a channel's messages go.
type target struct {
	ch      broker.Channel
	subject string
	names   []byte // as they go into a frame, if they do
	// local are the subscriptions of this broker that the messages are for. The subscriber
	// sets it, and takes it away as soon as it may be another one.
	local atomic.Pointer[[]*subscription]
}

// subjectCache remembers the addresses of channels. It is safe for concurrent use.
type subjectCache struct {
	names *naming

	mu sync.RWMutex
	by map[broker.Channel]*target
}

// targetsKept is how many addresses are remembered.
const targetsKept = 1 << 13

func newSubjectCache(names *naming) *subjectCache {
	return &subjectCache{names: names, by: map[broker.Channel]*target{}}
}

// target returns where a channel's messages go, or the error of naming.check.
func (d *subjectCache) target(ch broker.Channel) (*target, error) {
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
	a = &target{ch: ch, subject: d.names.subject(ch)}
	if hashed(ch) {
		a.names = appendNames(nil, ch)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.by) >= targetsKept {
		clear(d.by)
	}
	d.by[ch] = a
	return a, nil
}

// forget forgets all addresses. Those that are still in use are found out again.
func (d *subjectCache) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.by)
}
