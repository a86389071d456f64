package conformance

// fleetClauses is the text of this package's documentation, held equal by a test.
var fleetClauses = [...]string{
	1: "A namespace is live when Node.Namespace returns, also on a node that comes late: from then on it hears " +
		"every broadcast, and every question of a node that knows it, or that can count, is asked of it too.",
	2: "A broadcast reaches each member that its target selects (everybody, one room, several rooms, one member; " +
		"with exceptions; on this node only; on the others only), on every node, exactly once, and nobody else.",
	3: "What one node sends to one selection of rooms arrives everywhere in that order. With nothing wrong, " +
		"nothing is reported to OnError.",
	4: "Every node answers a question about members and rooms: the answer is complete, says on which node each " +
		"member is, and names the nodes that answered.",
	5: "An operation on members of any node, by id or by selection, is done when the call returns nil, to these " +
		"members and no others, and takes effect on what the same node sends next.",
	6: "\"No such member\" is an answer, which comes as soon as every node has given it.",
	7: "A request of the application reaches each other node once and brings back what each said, errors too. A " +
		"broadcast with acknowledgements brings back those of exactly the selected members.",
	8: "Peers lists all other nodes with what they serve, and Count counts all.",
	9: "A node that leaves is not waited for, and neither are two that leave at once; afterwards they are no " +
		"longer asked, listed or counted.",
	10: "If a node is killed in the middle of a question, the answer has what the others said and names the " +
		"missing node, by the deadline, and on a broker that counts before it. The next question does not wait for " +
		"that node, and after PeerTimeout it is forgotten.",
	11: "The same if a node is frozen, by the deadline; the next question does not wait for it. When it runs on it " +
		"answers again.",
	12: "The same if a node's link is cut. That node's own members go on hearing it, its questions end by their " +
		"deadline, and OnError is told. When the link is back, all hear and answer each other again.",
	13: "No call takes longer than its deadline or its context, whatever other nodes do. A context's error comes " +
		"as it is, or in a *PartialError with what is known.",
	14: "Two nodes with one id are told so, and nothing hangs; when one of them leaves, the fleet is whole again. A " +
		"second namespace or member of one name on one node is refused.",
	15: "Every name that the broker carries works for namespaces, rooms and members. What is too large for the " +
		"broker is a typed error: for a broadcast before anybody has got it, and for an answer the asker is told.",
	16: "All methods may be called at the same time from any goroutine, while nodes come and go.",
	17: "As soon as Node.Namespace has returned, a query in it by any node is answered by all nodes that have it, or says " +
		"that it may not be. A node that nobody has heard of is not said to be gone, and neither is its member.",
	18: "What it takes to announce namespaces grows with their number, and a node that comes late learns of all.",
	19: "What it takes to start N nodes at once is at most 8 N² announcements that nodes get.",
	20: "A node that gets 500 requests at once answers all of them.",
}
