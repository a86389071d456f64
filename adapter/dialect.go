package adapter

import (
	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/broker"
)

// Dialect is the generation of the Socket.IO servers that a node addresses: the form of its requests. It does not
// limit understanding: every node understands V6 and V5 at all times and responds to each in its own form. The sharded
// dialects are on channels of their own, and every node there understands all of them.
type Dialect uint8

const (
	// V6, the default, is that of socket.io-redis 6 and @socket.io/redis-adapter 7
	// and 8, used with Socket.IO 3 and 4.
	V6 Dialect = iota
	// V5 is that of socket.io-redis 5, used with Socket.IO 2.
	V5
	// Sharded is the sharded adapter of @socket.io/redis-adapter 8, in its subscription mode dynamic. It needs a broker
	// with sharded pub/sub (Options.Sharded of package redisbroker), on which it is the default. Its modes differ in the
	// channel of a broadcast to one room, and a server receives those of all modes.
	Sharded
	// ShardedStatic is Sharded with the mode static: all broadcasts are on the channel of the namespace. Servers of that
	// mode receive no others.
	ShardedStatic
	// ShardedPrivate is Sharded with the mode dynamic-private: broadcasts to one socket are on a channel of their own
	// too.
	ShardedPrivate
)

// String returns "v6", "v5", "sharded", "sharded-static" or "sharded-private".
func (d Dialect) String() string {
	switch d {
	case Sharded:
		return "sharded"
	case ShardedStatic:
		return "sharded-static"
	case ShardedPrivate:
		return "sharded-private"
	}
	return socketio.Dialect(d).String()
}

// mode returns the mode of a sharded dialect.
func (d Dialect) mode() socketio.Mode {
	if d < Sharded {
		return socketio.Classic
	}
	return socketio.ShardDynamic + socketio.Mode(d-Sharded)
}

// on returns the dialect on a broker, and why it is not possible there.
func (d Dialect) on(b broker.Broker) (_ Dialect, reason string) {
	switch sharded := b.Capabilities().OnlyExactly; {
	case d > ShardedPrivate:
		return d, "not one of V6, V5 and the sharded ones"
	case sharded && d == V6:
		return Sharded, ""
	case sharded && d == V5:
		return d, "V5, on a broker with sharded pub/sub"
	case !sharded && d >= Sharded:
		return d, d.String() + ", on a broker without sharded pub/sub"
	}
	return d, ""
}
