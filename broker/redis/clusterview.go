package redisbroker

// clusterView is a cluster as one of its nodes sees it.
type clusterView struct {
	self    clusterNode
	ids     map[string]bool // of all nodes, including this one
	masters int             // masters that serve slots
	reached int             // those of them that the node reaches, itself included
}

// viewOf makes a view from a node's response to CLUSTER NODES. It returns nil if the response
// does not mark the node itself.
func viewOf(nodes []clusterNode) *clusterView {
	v := &clusterView{ids: map[string]bool{}}
	for _, n := range nodes {
		v.ids[n.id] = true
		if n.myself {
			v.self = n
		}
		if !n.replica && n.slots {
			v.masters++
			if n.myself || !n.unlinked && !n.failed && !n.suspect && !n.joining {
				v.reached++
			}
		}
	}
	if v.self.id == "" {
		return nil
	}
	return v
}

// majority reports whether the node reaches most of the masters that serve slots.
func (v *clusterView) majority() bool { return v.reached > v.masters/2 }

// same reports whether the view is of the cluster whose nodes were known before. It is if both
// share a node other than this one, or if this one was alone before.
func (v *clusterView) same(before map[string]bool) bool {
	if len(before) == 0 || len(before) == 1 && before[v.self.id] {
		return true
	}
	for id := range v.ids {
		if id != v.self.id && before[id] {
			return true
		}
	}
	return false
}
