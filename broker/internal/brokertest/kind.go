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
	// Kill ends it with SIGKILL, and Restart starts it again.
	Kill()
	Restart()
	// Freeze stops it until Thaw.
	Freeze()
	Thaw()
}

// Restart kills servers, and starts them again when all are gone.
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
	// Protocol of the channels to test with.
	Protocol broker.Protocol
	// Start starts a server for the time of a test.
	Start func(t testing.TB) Server
	// Open makes a broker for a server by its host and port, which is closed with the
	// test.
	Open func(t testing.TB, addr string) broker.Broker
	// Notices is how soon such a broker notices that its server is silent.
	Notices time.Duration
	// Silent reports whether an error says so.
	Silent func(error) bool
	// InDoubt is how many messages may come to be in doubt each time a server is killed
	// that has answered to all: those that are written before its end is seen.
	InDoubt uint64
}

func (k *Kind) room() broker.Channel   { return k.Protocol.Room("/", "room") }
func (k *Kind) marker() broker.Channel { return k.Protocol.Room("/", "marker") }
