// Package interop runs the real Node.js packages of Socket.IO as live peers, for
// tests and benchmarks: servers with real clients connected to them, and emitters.
//
// Each [Peer] is one Node.js process, the program of the directory node, which
// takes operations and reports what its clients receive. Its versions are pinned
// by node/package-lock.json and fetched by scripts/setup.
//
// The tests of this package hold Crossroom to what those packages do. One list of
// cases is run by fleets of Node.js processes alone, which checks the list, then by
// pairs and fleets in which some of the processes are Go nodes, in both directions.
// The tables in docs/INTEROP.md are written from what passed.
package interop
