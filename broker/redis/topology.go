package redisbroker

import (
	"net"
	"strings"
)

// clusterNode is a node of a cluster as another node lists it.
type clusterNode struct {
	id, addr string
	host     string // its announced host name; may be empty
	myself   bool   // the node that sent the list
	failed   bool   // most masters agree that it is down
	suspect  bool   // the node that sent the list assumes that it is down
	joining  bool   // it is not part of the cluster yet, or has no address
	unlinked bool   // the node that sent the list has no connection to it
	replica  bool   // of a master
	slots    bool   // it serves at least one
}

// parseNodes parses the reply to CLUSTER NODES: one line for each node,
//
//	<id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> [<slots> ...]
func parseNodes(text string) []clusterNode {
	var list []clusterNode
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		n := clusterNode{id: fields[0]}
		addr, more, _ := strings.Cut(fields[1], "@")
		if _, names, ok := strings.Cut(more, ","); ok {
			n.host, _, _ = strings.Cut(names, ",")
		}
		if i := strings.LastIndexByte(addr, ':'); i > 0 { // else no address is known
			n.addr = net.JoinHostPort(strings.Trim(addr[:i], "[]"), addr[i+1:])
		}
		for flag := range strings.SplitSeq(fields[2], ",") {
			switch flag {
			case "myself":
				n.myself = true
			case "fail":
				n.failed = true
			case "fail?":
				n.suspect = true
			case "slave":
				n.replica = true
			case "handshake", "noaddr":
				n.joining = true
			}
		}
		n.unlinked = len(fields) > 7 && fields[7] == "disconnected"
		for i := 8; i < len(fields); i++ {
			n.slots = n.slots || !strings.HasPrefix(fields[i], "[") // both nodes list a slot that is being moved
		}
		list = append(list, n)
	}
	return list
}

// preferred returns the address of a node that clients use: with its host name if they use host
// names for other nodes.
func (n *clusterNode) preferred(byName bool) string {
	_, port, err := net.SplitHostPort(n.addr)
	if err != nil || !byName || n.host == "" {
		return n.addr
	}
	return net.JoinHostPort(n.host, port)
}

// replication is the state that a server outside a cluster reports about its replication.
type replication struct {
	replicas []string // their addresses
	primary  string   // its own primary's address, if it is a replica
}

// parseReplication parses the reply to INFO replication. It returns nil for any other text.
func parseReplication(text string) *replication {
	if !strings.HasPrefix(text, "# Replication") {
		return nil
	}
	var r replication
	var host, port, role string
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case !ok:
		case key == "role":
			role = value
		case key == "master_host":
			host = value
		case key == "master_port":
			port = value
		case strings.HasPrefix(key, "slave") && strings.HasPrefix(value, "ip="):
			var ip, port string
			for field := range strings.SplitSeq(value, ",") {
				switch name, text, _ := strings.Cut(field, "="); name {
				case "ip":
					ip = text
				case "port":
					port = text
				}
			}
			if ip != "" && port != "" && port != "0" {
				r.replicas = append(r.replicas, net.JoinHostPort(ip, port))
			}
		}
	}
	if role == "slave" && host != "" && port != "" {
		r.primary = net.JoinHostPort(host, port)
	}
	return &r
}
