package servers

import (
	"context"
	"testing"
)

// StartProgram starts any program that listens on a loopback port, and calls ready until it returns nil. name appears
// in the test's log.
func StartProgram(tb testing.TB, name, bin string, args []string, port int, ready func(ctx context.Context) error) *Server {
	tb.Helper()
	s := newServer(tb, name, bin, port)
	s.args, s.ready = args, ready
	s.start()
	return s
}
