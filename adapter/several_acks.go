package adapter

import (
	"sync"

	"github.com/crossroom/crossroom/internal/wire"
)

// mergedAcks calls AckFuncs with the results of several links: each socket's acknowledgement once, and numbers at the
// end, when it is known which sockets were reached twice.
type mergedAcks struct {
	on wire.AckFuncs

	mu       sync.Mutex // held during calls
	unsent   int        // links
	expected map[string]int
	foreign  []int // numbers of Node.js servers' sockets
}

func newMergedAcks(on wire.AckFuncs, links int) *mergedAcks {
	return &mergedAcks{on: on, unsent: links, expected: map[string]int{}}
}

// funcs returns the functions for one link.
func (m *mergedAcks) funcs() wire.AckFuncs {
	if m.on.Sent == nil && m.on.Expected == nil && m.on.Value == nil {
		return wire.AckFuncs{}
	}
	return wire.AckFuncs{Sent: m.sent, Expected: m.number, Value: m.value}
}

func (m *mergedAcks) sent() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unsent--; m.unsent == 0 && m.on.Sent != nil {
		m.on.Sent()
	}
}

func (m *mergedAcks) number(node string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if node == "" {
		m.foreign = append(m.foreign, n)
	} else {
		m.expected[node] += n
	}
}

func (m *mergedAcks) value(node string, payload []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if string(payload) == string(answeredElsewhere) {
		m.expected[node]--
	} else if m.on.Value != nil {
		m.on.Value(node, payload)
	}
}

func (m *mergedAcks) end() {
	if m.on.Expected == nil {
		return
	}
	for node, n := range m.expected {
		m.on.Expected(node, n)
	}
	for _, n := range m.foreign {
		m.on.Expected("", n)
	}
}
