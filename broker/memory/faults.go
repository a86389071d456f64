package memorybroker

import (
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/internal/control"
)

func init() {
	control.Of = func(b any) control.Faults { return (*faults)(b.(*Broker)) }
}

// faults is a Broker with the methods that package memorytest calls and documents.
type faults Broker

func (f *faults) Cut(err error) {
	b := (*Broker)(f)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut || b.gone() {
		return
	}
	b.cut = true
	b.unreachable.Store(true)
	b.direct.Store(false)
	b.change()
	for s := range b.subs {
		b.bus.setCut(s, err)
	}
}

func (f *faults) Heal() {
	b := (*Broker)(f)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cut || b.gone() {
		return
	}
	for s := range b.subs {
		b.bus.setCut(s, nil)
	}
	b.cut = false
	b.unreachable.Store(false)
	b.change()
}

func (f *faults) Freeze() { (*Broker)(f).setFrozen(true) }

func (f *faults) Thaw() { (*Broker)(f).setFrozen(false) }

func (b *Broker) setFrozen(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen == on || b.gone() {
		return
	}
	b.frozen = on
	if on {
		b.direct.Store(false)
	}
	for s := range b.subs {
		s.in.Pause(on)
	}
	b.change()
}

func (f *faults) Kill() {
	b := (*Broker)(f)
	b.mu.Lock()
	b.killed = true
	b.closing = true
	b.direct.Store(false)
	b.stop()
	b.change()
	subs := b.allSubs()
	b.mu.Unlock()
	b.out.Stop(broker.ErrClosed)
	for _, s := range subs {
		b.bus.removeAll(s)
	}
}
