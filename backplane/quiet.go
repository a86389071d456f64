package backplane

import (
	"sync"

	"github.com/crossroom/crossroom/internal/wire"
)

// quiet remembers how many of the servers that do not announce themselves missed the
// deadline of a question, for each kind of question: as long as as many are there as
// then, the next ones of that kind do not wait for so many answers, or not for long.
// Nobody knows which ones they were, but every question still goes to all of them, so
// an answer that comes when it is not waited for any more says that they are back.
type quiet struct {
	mu   sync.Mutex
	byOp map[wire.Op]silence
}

// silence: of total servers missing ones did not answer.
type silence struct{ total, missing int }

func (q *quiet) note(op wire.Op, total, missing int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byOp == nil {
		q.byOp = make(map[wire.Op]silence)
	}
	q.byOp[op] = silence{total, missing}
}

// among returns how many of total servers not to wait for.
func (q *quiet) among(op wire.Op, total int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.byOp[op]; s.total == total {
		return s.missing
	}
	return 0
}

func (q *quiet) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.byOp)
}
