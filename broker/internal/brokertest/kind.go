package brokertest

import (
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Server is a process that brokers connect to.
type Server interface {
	// Addr returns its host and port.
	Addr() string
	// Kill stops the server with SIGKILL, and Restart starts it again.
	Kill()
	Restart()
	// Freeze stops the server until Thaw.
	Freeze()
	Thaw()
}

// Restart kills servers, and starts them again when all have terminated.
func Restart[S Server](servers ...S) {
	for _, s := range servers {
		s.Kill()
	}
	for _, s := range servers {
		s.Restart()
	}
}

// Kind is a kind of broker.
type Kind struct {
	// Protocol of the tested channels.
	Protocol broker.Protocol
	// Start starts a server for the duration of a test.
	Start func(t testing.TB) Server
	// Open makes a broker for a server with that host and port. The broker is closed at the end of the test.
	Open func(t testing.TB, addr string) broker.Broker
	// Notices is how soon such a broker notices an unresponsive server.
	Notices time.Duration
	// Silent reports whether an error is that of an unresponsive server.
	Silent func(error) bool
	// InDoubt is how many messages may be uncertain each time that a server is killed which has responded to all:
	// those written before the broker notices the end of the connection.
	InDoubt uint64
}

func (k *Kind) room() broker.Channel   { return k.Protocol.Room("/", "room") }
func (k *Kind) marker() broker.Channel { return k.Protocol.Room("/", "marker") }
