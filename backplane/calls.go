package backplane

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// callTable holds the questions of a namespace under way.
type callTable struct {
	prefix string
	last   atomic.Uint64
	mu     sync.Mutex
	byID   map[string]*call
	err    error // set when closed
}

func (t *callTable) init(node string) {
	t.prefix = node + "."
	t.byID = make(map[string]*call)
}

// newID returns an id by which the node knows its own requests when they come back
// to it, also late.
func (t *callTable) newID() string {
	return t.prefix + strconv.FormatUint(t.last.Add(1), 36)
}

// own tells this node's ids from others', also if one node's id is the beginning of
// another's.
func (t *callTable) own(id string) bool {
	n := len(t.prefix)
	return strings.HasPrefix(id, t.prefix) && !strings.Contains(id[n:], ".")
}

func (t *callTable) add(c *call) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	t.byID[c.req.ID] = c
	return nil
}

func (t *callTable) remove(c *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, c.req.ID)
}

func (t *callTable) find(id string) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

func (t *callTable) all() []*call {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := make([]*call, 0, len(t.byID))
	for _, c := range t.byID {
		calls = append(calls, c)
	}
	return calls
}

// lost says that a node is gone.
func (t *callTable) lost(id string) {
	for _, c := range t.all() {
		c.lost(id)
	}
}

// fail ends all questions, and those to come.
func (t *callTable) fail(err error) {
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	for _, c := range t.all() {
		c.mu.Lock()
		if !c.ended {
			c.err = err
			c.end()
		}
		c.mu.Unlock()
	}
}
