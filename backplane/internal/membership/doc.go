// Package membership knows which Crossroom nodes are in a fleet and which namespaces each
// serves. Nodes say so on the control channels, in frames that this package writes and
// reads: ARCHITECTURE.md has them in a table, and the states of a peer in a diagram.
//
// It uses a broker for these channels and nothing else. What a namespace is for, and what
// nodes ask each other in it, is not its concern.
package membership
