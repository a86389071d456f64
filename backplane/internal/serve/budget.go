package serve

import (
	"sync"
	"time"

	"github.com/crossroom/crossroom/internal/wire"
)

// MaxMemory is about what the answers that a node is making take at most, in all namespaces:
// one large one and fewAnswers others. What has been published is the broker's.
const MaxMemory = 100 << 20

const (
	// fewAnswers is how many queries are answered at a time, besides a large one. What they
	// answer is listed, and encoded, with at most maxSmall bytes and what describeAtOnce
	// members add.
	fewAnswers = 4
	maxSmall   = 4 << 20
	// maxLarge is what a large answer may have in one message. In parts it takes less.
	maxLarge = 24 << 20
	// largeList and largeDetail are how many elements a list has at most that is not large:
	// names, and members with details.
	largeList   = 4096
	largeDetail = 256
)

// Budget limits the memory of the answers that a node is making. Its namespaces share it.
type Budget struct{ few, large chan struct{} }

// NewBudget returns the budget of a node.
func NewBudget() *Budget {
	return &Budget{few: make(chan struct{}, fewAnswers), large: make(chan struct{}, 1)}
}

// oversize reports members that say too much of themselves, at most once in oversizePause.
type oversize struct {
	mu   sync.Mutex
	last time.Time
	more int
}

const oversizePause = time.Second

// trim leaves out what members say of themselves if it is more than wire.MaxDescription.
func (d *Desk[M]) trim(infos []wire.MemberInfo) {
	for i := range infos {
		if size := len(infos[i].Data); size > wire.MaxDescription {
			infos[i].Data = nil
			d.oversized(infos[i].ID, size)
		}
	}
}

func (d *Desk[M]) oversized(member string, size int) {
	o := &d.oversize
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.last.IsZero() && time.Since(o.last) < oversizePause {
		o.more++
		return
	}
	d.o.Oversized(member, size, o.more)
	o.last, o.more = time.Now(), 0
}
