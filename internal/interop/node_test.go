package interop_test

import (
	"context"
	"maps"

	"github.com/crossroom/crossroom/internal/interop"
)

// args are the arguments of an operation, by the names of node/generations.
type args = map[string]any

// node is a process of a fleet: a Node.js server, a Go node, or an emitter of
// either kind. Operations, arguments and results are those of node/generations.
type node interface {
	Name() string
	Call(ctx context.Context, op string, a args) (any, error)
	Inbox(name string) *interop.Inbox
	// Faults returns events that must never happen.
	Faults() []string
}

// emits reports whether a node only emits: it has no sockets and gets no responses.
func emits(n node) bool {
	switch n := n.(type) {
	case *interop.Peer:
		return n.Generation() == emitterV3 || n.Generation() == emitterV5
	case *goEmitter:
		return true
	}
	return false
}

// client is a socket: a real client of a Node.js server, or a simulated one of a Go
// node.
type client struct {
	node  node
	name  string
	id    string
	rooms []any // without the one named by the id
	inbox *interop.Inbox
}

func (c *client) in(rooms ...any) bool {
	for _, r := range rooms {
		if r == any(c.id) {
			return true
		}
		for _, own := range c.rooms {
			if own == r {
				return true
			}
		}
	}
	return false
}

func with(a args, more args) args {
	out := maps.Clone(a)
	if out == nil {
		out = args{}
	}
	maps.Copy(out, more)
	return out
}
