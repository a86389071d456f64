package rooms

import "sync/atomic"

// Entry is the registry's record of one member.
//
// The registry's lock guards all fields except Member, state and calls.
type Entry[M any] struct {
	// Member never changes. It shares a cache line with state, because fan-outs read both without the lock.
	Member M
	state  atomic.Uint32
	calls  atomic.Uint32

	out   bool               // has left the room of its own id
	pos   int32              // in Registry.all
	id    string             // never changes
	in    []slot[M]          // memberships
	index map[*room[M]]int32 // index in `in`, once it has more than indexAbove rooms
}

// Embed is an Entry that a member embeds by value. The registry uses it in place of an entry of its own, which saves
// memory, and a cache miss for each message. Its zero value is ready for use.
type Embed[M any] struct{ entry Entry[M] }

// embedder is a member that embeds an Embed.
type embedder[M any] interface{ embedded() *Entry[M] }

func (e *Embed[M]) embedded() *Entry[M] { return &e.entry }

// LacksEntry reports whether m embeds an Embed by a pointer, and the pointer is nil.
func LacksEntry[M any](m M) (lacks bool) {
	own, ok := any(m).(embedder[M])
	if !ok {
		return false
	}
	defer func() { lacks = recover() != nil }()
	own.embedded().calls.Load()
	return false
}

// newEntry returns the entry that the member embeds, unless it is in use: a member may be in several registries, or be
// added again while its old entry is still referenced.
func newEntry[M any](m M, id string) *Entry[M] {
	e := new(Entry[M])
	if own, ok := any(m).(embedder[M]); ok {
		if mine := own.embedded(); mine.calls.Or(taken)&taken == 0 {
			e = mine
		}
	}
	e.Member, e.id = m, id
	return e
}

// Bits of state. stalled is added once for each call of the member that has not returned in time.
const (
	gone    = 1
	stalled = 2
)

// Bits of calls. muted is added once for each call of Describe that has not returned in time.
const (
	taken = 1 // an embedded entry is, or was, in a registry
	muted = 2
)

// ID returns the member's id.
func (e *Entry[M]) ID() string { return e.id }

// Ready reports whether the member receives messages: it is registered, and no call of it is stalled.
func (e *Entry[M]) Ready() bool { return e.state.Load() == 0 }

// Gone reports whether the member was removed.
func (e *Entry[M]) Gone() bool { return e.state.Load()&gone != 0 }

// Stall records that a call of the member did not return in time.
func (e *Entry[M]) Stall() { e.state.Add(stalled) }

// Unstall records that such a call has returned.
func (e *Entry[M]) Unstall() { e.state.Add(^uint32(stalled - 1)) }

// Mute records that a call of Describe did not return in time. It reports whether that is the first.
func (e *Entry[M]) Mute() (first bool) { return e.calls.Add(muted)&^taken == muted }

// Unmute records that such a call has returned. It may be called before its Mute.
func (e *Entry[M]) Unmute() { e.calls.Add(^uint32(muted - 1)) }

// Muted reports whether a call of Describe is late.
func (e *Entry[M]) Muted() bool { return e.calls.Load()&^taken != 0 }
