package memorybroker

import (
	"errors"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// errSlow is why a subscription whose queue was full missed messages.
var errSlow = errors.New("memory broker: receiver too slow, queue full")

// gap is what the receiver will be told in one place between two messages. Gaps
// next to each other become one, so there are never more gaps than messages.
type gap struct {
	err  error // of a cut; nil if there was none
	lost broker.Loss
	told bool // Interrupted was called before; lost counts what came after that outage
	over bool // Resumed is to be called
}

// lastGap returns the gap at the end of the queue, a new one if there is none.
func (s *subscription) lastGap() *gap {
	if last := s.queue.last(); last != nil && last.gap != nil {
		return last.gap
	}
	g := &gap{}
	s.queue.push(item{gap: g})
	s.work.Signal()
	return g
}

// interrupt begins an outage: nothing comes in any more.
func (s *subscription) interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	g := s.lastGap()
	g.over = false
	if g.err == nil {
		g.err = err
	}
	s.releaseRoom()
}

// resume ends an outage.
func (s *subscription) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = false
	if last := s.queue.last(); last == nil || last.gap == nil {
		s.lastGap().told = true // the receiver has already heard of its beginning
	}
	s.lastGap().over = true
}

// tell makes the calls for a gap. The queue no longer has it, so it does not change.
func (s *subscription) tell(g *gap) {
	if g.told && g.lost.Messages > 0 {
		s.resumed()
		g.told = false
	}
	if !g.told {
		err := g.err
		if g.lost.Messages > 0 {
			loss := g.lost
			if loss.Err = err; err == nil {
				loss.Err = errSlow
			}
			err = &broker.LossError{Loss: loss}
		}
		s.mu.Lock()
		s.interrupted = time.Now()
		s.mu.Unlock()
		s.b.interruptions.Add(1)
		s.r.Interrupted(err)
	}
	if g.over {
		s.resumed()
	}
}

func (s *subscription) resumed() {
	s.outageOver()
	s.r.Resumed()
}

// outageOver counts the time since Interrupted was called, if it was.
func (s *subscription) outageOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.interrupted.IsZero() {
		s.b.interruptedFor.Add(int64(time.Since(s.interrupted)))
		s.interrupted = time.Time{}
	}
}
