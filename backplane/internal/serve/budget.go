package serve

import (
	"github.com/crossroom/crossroom/internal/wire"
)

// MaxMemory is approximately the limit of the memory for the responses that a node is
// making, in all namespaces: one large response and fewResponses others. A published response
// belongs to the broker.
const MaxMemory = 100 << 20

const (
	// fewResponses is the number of queries that are carried out at a time, besides a large one.
	// The list and the encoding of each take at most maxSmall bytes, and the data of describeAtOnce
	// members.
	fewResponses = 4
	maxSmall     = 4 << 20
	// maxLarge is the limit of a large response in one message. In parts it takes less.
	maxLarge = 24 << 20
	// largeList and largeDetail are the numbers of elements above which a list is large:
	// of names, and of members with details.
	largeList   = 4096
	largeDetail = 256
)

// Budget limits the memory of the responses that a node is making. Its namespaces share it.
type Budget struct{ few, large chan struct{} }

// NewBudget returns the budget of a node.
func NewBudget() *Budget {
	return &Budget{few: make(chan struct{}, fewResponses), large: make(chan struct{}, 1)}
}

// trim removes, and reports, the data of members if it exceeds wire.MaxDescription.
func (d *Desk[M]) trim(infos []wire.MemberInfo) {
	for i := range infos {
		if size := len(infos[i].Data); size > wire.MaxDescription {
			infos[i].Data = nil
			d.o.Oversized(infos[i].ID, size)
		}
	}
}
