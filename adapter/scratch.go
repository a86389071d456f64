package adapter

import "sync"

// scratch is a reusable buffer.
type scratch struct{ buf []byte }

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// Larger buffers are left to the garbage collector.
const keepBytes = 64 << 10

func (s *scratch) release() {
	if cap(s.buf) <= keepBytes {
		scratchPool.Put(s)
	}
}
