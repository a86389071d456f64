package servers

import (
	"context"
	"testing"
)

// StartProgram starts any program that listens on a loopback port, and waits until
// ready returns nil; it is called again until it does. name stands in the test's log.
func StartProgram(tb testing.TB, name, bin string, args []string, port int, ready func(ctx context.Context) error) *Server {
	tb.Helper()
	s := newServer(tb, name, bin, port)
	s.args, s.ready = args, ready
	s.start()
	return s
}
