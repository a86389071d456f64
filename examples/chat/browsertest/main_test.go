package browsertest_test

import (
	"testing"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// The fleet of these tests, and the pairs of nodes that talk.
var (
	kinds = []string{"go", "go", "node"}
	pairs = [][2]string{{"go-1", "go-2"}, {"go-2", "node-1"}, {"node-1", "go-1"}}
)

func byName(f *browsertest.Fleet) map[string]*browsertest.Node {
	nodes := make(map[string]*browsertest.Node)
	for _, n := range f.Nodes {
		nodes[n.Name] = n
	}
	return nodes
}

// deaths are pairs of an observing node and a node that crashes.
var deaths = [][2]string{{"go-1", "go-2"}, {"go-1", "node-1"}, {"node-1", "go-2"}}

// stock are the nodes that the stock client is tested against.
var stock = []string{"go-1", "node-1"}
