// Package wire is the internal interface between packages backplane and adapter: the codec of a protocol and its
// messages (codec.go), and the parts of the core that adapter uses beyond its public methods (door.go). Package
// backplane sets the variables when it is initialised.
package wire
