//go:build linux

package outage_test

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
)

// Messages of the load carry the number of their stream, and their number within it.

func appendMessage(dst []byte, stream uint32, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, stream), seq)
}

func parseMessage(p []byte) (stream uint32, seq uint64) {
	return binary.BigEndian.Uint32(p), binary.BigEndian.Uint64(p[4:])
}

// endOf is the number of a stream's last message.
const endOf = 1 << 63

// sink receives the load and counts its messages. It is notified of outages in their places among the messages.
type sink struct {
	observe.Nop
	say func(what string)

	mu      sync.Mutex
	streams map[uint32]*stream
	ended   int
	rep     report
}

type stream struct {
	last   uint64
	outage int // number of outages before the last message
}

// report is what a sink has received.
type report struct {
	Received int
	// Repeated counts duplicates, and Disordered messages that came after later ones of their stream.
	Repeated, Disordered int
	// MissedInGap counts missed messages within a reported interruption, MissedElsewhere the others.
	MissedInGap, MissedElsewhere int
	Outages                      int
	// The end of the last outage, and the first message after it.
	Resumed, First time.Time
}

// streamsOfLoad is the number of streams.
const streamsOfLoad = 4

func newSink(say func(what string)) *sink {
	return &sink{say: say, streams: map[uint32]*stream{}}
}

func (s *sink) take(payload []byte) {
	id, seq := parseMessage(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil {
		st = &stream{outage: s.rep.Outages}
		s.streams[id] = st
	}
	end := seq&endOf != 0
	seq &^= endOf
	switch {
	case seq == st.last:
		s.rep.Repeated++
		return
	case seq < st.last:
		s.rep.Disordered++
		return
	}
	if missed := int(seq - st.last - 1); st.outage < s.rep.Outages {
		s.rep.MissedInGap += missed
	} else {
		s.rep.MissedElsewhere += missed
	}
	st.last, st.outage = seq, s.rep.Outages
	s.rep.Received++
	if s.rep.First.IsZero() && !s.rep.Resumed.IsZero() {
		s.rep.First = time.Now()
	}
	if end {
		if s.ended++; s.ended == streamsOfLoad {
			s.say("ended")
		}
	}
}

func (s *sink) report() *report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rep
	return &r
}

// Interrupted implements observe.Observer.
func (s *sink) Interrupted(namespace string, _ error) {
	if namespace != space {
		return
	}
	s.mu.Lock()
	s.rep.Outages++
	s.rep.Resumed, s.rep.First = time.Time{}, time.Time{}
	s.mu.Unlock()
	s.say("interrupted")
}

// Resumed implements observe.Observer.
func (s *sink) Resumed(namespace string, _ time.Duration) {
	if namespace != space {
		return
	}
	s.mu.Lock()
	s.rep.Resumed = time.Now()
	s.mu.Unlock()
	s.say("resumed")
}
