package conformance

// fleetClauses is the text of this package's documentation. A test requires both to be equal.
var fleetClauses = [...]string{
	1: "A namespace is live when Node.Namespace returns, also on a late node. From then on it receives every " +
		"broadcast, and every request of a node that knows it or that can count.",
	2: "Without a fault, a broadcast reaches each member that its target selects, on every node, exactly " +
		"once, and no other member. A target selects all members, one room, several rooms, members in all of " +
		"several rooms, one member, or an empty list of rooms; with exceptions; on all nodes, on this node " +
		"only, or on the others only.",
	3: "The messages of one node to one selection of rooms arrive everywhere in their order. Without a " +
		"fault, no error is reported to OnError.",
	4: "Every node responds to a query about members and rooms, and counts them. The result is complete, says on " +
		"which node each member is, and names the nodes that responded.",
	5: "An operation on members of any node, by id or by selection, is done when the call returns nil, for " +
		"these members and no others, and affects the next messages of the same node.",
	6: "\"No such member\" is a result. It comes as soon as every node has responded.",
	7: "A request of the application reaches each other node once, and its result has the response or the " +
		"error of each. A broadcast with acknowledgements has those of exactly the selected members.",
	8: "Peers lists all other nodes with their namespaces, and its Total counts all nodes.",
	9: "Calls do not wait for a node that leaves, nor for two that leave at once. Afterwards these nodes get " +
		"no requests and are neither listed nor counted.",
	10: "If a node is killed during a query, the result has the responses of the others and names the missing " +
		"node. It comes by the deadline, and earlier on a broker that counts. The next query does not wait " +
		"for that node, and after PeerTimeout the node is forgotten.",
	11: "If a node is frozen during a query, the result has the responses of the others and names the missing " +
		"node, by the deadline. The next query does not wait for the node. When it runs again it responds " +
		"again.",
	12: "If a node's link is cut during a query, the result is as in F10. That node's own members still " +
		"receive its broadcasts, its queries end by their deadline, and OnError reports the outage. When the " +
		"link is back, all nodes receive messages from and respond to each other again.",
	13: "No call takes longer than its deadline or its context, whatever other nodes do. A context's error is " +
		"returned unwrapped, or in a *PartialError with the known part of the result.",
	14: "Two nodes with one id both report it, and no call hangs. When one of them leaves, the other nodes " +
		"and the remaining one reach each other again. A second namespace or member of one name on one node " +
		"is refused.",
	15: "Every name that the broker carries works for namespaces, rooms and members. A message that is too " +
		"large for the broker is a typed error. A broadcast returns it before any member has received the " +
		"message. For a response the requester gets it.",
	16: "All methods may be called at the same time from any goroutine, while nodes come and go.",
	17: "As soon as Node.Namespace has returned, a query in it by any node has the responses of all nodes " +
		"with that namespace, or reports that it may be incomplete. Neither a node that is still unknown " +
		"nor its members are reported as lost.",
	18: "The traffic for announcing namespaces grows with their number, and a late node learns the names of " +
		"all.",
	19: "Starting N nodes at once takes at most 8 N² deliveries of announcements.",
	20: "A node that receives 500 requests at once responds to all of them.",
	21: "A message to a room reaches members that have joined it as soon as Join has returned, in every " +
		"subscription mode. A node with dynamic subscription receives no messages for rooms without members on it, once " +
		"these have been unsubscribed. While the mode changes, no message is lost, repeated or out of order.",
	22: "A node with keys accepts a message only from a process that has signed it with one of the keys for " +
		"that channel, and accepts it once. Messages without such a signature, and copies of signed ones, " +
		"have no effect: each node counts them and reports the reason.",
	23: "Node.Ready returns when the node receives and publishes. While its link is cut or its server frozen, " +
		"Node.Health reports every direction as down, after PeerTimeout at the latest. When the link is back, " +
		"Ready returns again.",
}
