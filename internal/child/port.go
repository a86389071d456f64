package child

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreePort returns a free loopback port. It lies below the range of the ports of outgoing connections. Otherwise a
// client that dials a stopped server could get the server's port for its own end, and even connect to itself.
func FreePort() (int, error) {
	for range 1000 {
		port := 11000 + rand.IntN(19000)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
