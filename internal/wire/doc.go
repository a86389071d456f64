// Package wire is the seam between packages backplane and adapter: the codec of a protocol
// and its messages (codec.go), and what adapter reaches of the core beyond its public
// methods (door.go). Backplane sets the variables when it is initialised.
package wire
