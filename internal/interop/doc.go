// Package interop runs the real Node.js packages of Socket.IO as peers, for
// tests and benchmarks: servers with real clients connected to them, and emitters.
//
// Each [Peer] is one Node.js process that runs the program in the directory node. It
// accepts operations and reports the messages of its clients. Its versions are pinned
// by node/package-lock.json and fetched by scripts/setup.
//
// The tests of this package compare Crossroom with those packages. One list of
// cases runs in fleets of Node.js processes alone, which checks the list, and then in
// pairs and fleets that include Go nodes, in both directions.
// The tables in docs/INTEROP.md are generated from the results.
package interop
