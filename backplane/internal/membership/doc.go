// Package membership knows the Crossroom nodes of a fleet and the namespaces of each. Nodes announce them on the
// control channels, in frames that this package writes and reads: ARCHITECTURE.md has them in a table, and the states
// of a peer in a diagram.
//
// The package uses a broker only for these channels. It knows neither the purpose of a namespace nor the requests in
// it.
package membership
