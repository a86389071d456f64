package backplane

import (
	"reflect"
	"sync"
)

// inUse has the brokers of this process on which a node has started and has not been closed.
var inUse sync.Map // of broker.Broker to the node's id

// claim makes the broker that of this node. It returns an *OptionError if another node has it.
func (n *Node) claim() error {
	if !reflect.ValueOf(n.given).Comparable() {
		return nil
	}
	if other, taken := inUse.LoadOrStore(n.given, n.id); taken {
		return &OptionError{Option: "Broker", Reason: "in use by node " + other.(string) + ": each node needs a broker of its own"}
	}
	return nil
}

// unclaim lets another node have the broker.
func (n *Node) unclaim() {
	if reflect.ValueOf(n.given).Comparable() {
		inUse.Delete(n.given)
	}
}
