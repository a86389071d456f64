package natsbroker

import (
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

// target is a channel with everything needed to publish on it.
type target struct {
	ch      broker.Channel
	subject string
	names   []byte // the channel's names as part of the frame; nil if the subject has them
	// local are the local subscriptions that select the channel; nil if they are not cached. The
	// subscriber sets it, and resets it when subscriptions change.
	local atomic.Pointer[[]*subscription]
}

// subjectCache caches the targets of channels. It is safe for concurrent use.
type subjectCache struct {
	names *naming

	mu sync.RWMutex
	by map[broker.Channel]*target
}

// targetsKept limits how many targets are cached.
const targetsKept = 1 << 13

func newSubjectCache(names *naming) *subjectCache {
	return &subjectCache{names: names, by: map[broker.Channel]*target{}}
}

// target returns a channel's target, or the error of naming.check.
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
	// The caller's names may be parts of a large string.
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

// forget empties the cache. Targets that are still in use are made again.
func (d *subjectCache) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.by)
}
