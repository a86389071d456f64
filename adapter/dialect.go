package adapter

import "github.com/crossroom/crossroom/adapter/internal/socketio"

// Dialect is the generation of Socket.IO servers that a node addresses: in which form
// it asks. It says nothing about understanding: every node understands all dialects
// all the time and answers each in its own.
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
