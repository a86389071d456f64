package servers

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort returns a loopback port that nobody listens on. It lies below the range
// from which systems take the ports of outgoing connections: otherwise a client
// that dials a stopped server could take the server's port for its own end, and
// even connect to itself.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := 11000 + rand.IntN(19000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
	tb.Fatal("no free port")
	return 0
}
