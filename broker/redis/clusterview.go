package redisbroker

// clusterView is what a node of a cluster knows of it.
type clusterView struct {
	self    clusterNode
	ids     map[string]bool // of all nodes, this one included
	masters int             // that serve slots
	reached int             // of these, itself or healthy with a link to them
}

// viewOf makes a view of a node's answer to CLUSTER NODES. It returns nil if that does not
// say which one the node is.
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

// same reports whether the view is of the cluster whose nodes were known before: the two
// share another node than the one that is asked, or that one was alone.
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
