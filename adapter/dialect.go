package adapter

import "github.com/crossroom/crossroom/adapter/internal/socketio"

// Dialect is the generation of the Socket.IO servers that a node addresses: the form of its requests. It does not
// limit understanding: every node understands all dialects at all times and responds to each in its own form.
type Dialect uint8

const (
	// V6, the default, is that of socket.io-redis 6 and @socket.io/redis-adapter 7
	// and 8, used with Socket.IO 3 and 4.
	V6 Dialect = iota
	// V5 is that of socket.io-redis 5, used with Socket.IO 2.
	V5
)

// String returns "v6" or "v5".
func (d Dialect) String() string { return socketio.Dialect(d).String() }
