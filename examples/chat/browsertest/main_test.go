package browsertest_test

import "github.com/crossroom/crossroom/examples/chat/browsertest"

// The fleet of these tests, and which nodes talk with which.
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

// deaths says who watches whom die.
var deaths = [][2]string{{"go-1", "go-2"}, {"go-1", "node-1"}, {"node-1", "go-2"}}

// stock are the nodes that the stock client is tried against.
var stock = []string{"go-1", "node-1"}
