package browsertest_test

import "github.com/crossroom/crossroom/examples/chat/browsertest"

// The fleet of these tests, and which nodes talk with which.
var (
	kinds = []string{"node", "node", "node"}
	pairs = [][2]string{{"node-1", "node-2"}, {"node-3", "node-1"}}
)

func byName(f *browsertest.Fleet) map[string]*browsertest.Node {
	nodes := make(map[string]*browsertest.Node)
	for _, n := range f.Nodes {
		nodes[n.Name] = n
	}
	return nodes
}

// deaths says who watches whom die.
var deaths = [][2]string{{"node-1", "node-2"}}

// stock are the nodes that the stock client is tried against.
var stock = []string{"node-1"}
