package redisbroker

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options of a broker. The zero value, and nil, are sensible. The broker takes a copy.
type Options struct {
	// Prefix of all channel names; empty means DefaultPrefix. Fleets with different
	// prefixes on one Redis never hear each other.
	Prefix string

	// SubscribeClient is used for subscribing; nil means the client given to New or
	// made by Open. A second client is for fleets that publish to one place and
	// listen in another, or with another user.
	SubscribeClient redis.UniversalClient

	// Logger gets a line for every lost and every restored connection; nil means none.
	Logger *slog.Logger

	// QueueMessages, QueueBytes and QueueAge bound what waits to be sent, so that a
	// server that is away cannot eat the memory, and what is sent after an outage is
	// not stale. Publish waits while either of the first two is reached; bytes count
	// names and some 40 bytes a message too. A message older than QueueAge is lost
	// (and reported) instead of sent. Zero or less means 65,536 messages, 32 MiB and
	// 30 seconds; a negative age means never too old.
	QueueMessages int
	QueueBytes    int
	QueueAge      time.Duration

	// MaxRate is how many bytes of commands a second this broker sends at most, after a
	// burst of an eighth of a second; a larger message is sent whole. What exceeds it waits
	// in the queue. Set it where a flood would make the server disconnect slow subscribers
	// (see Limits in the package documentation): servers of @socket.io/redis-adapter on
	// node-redis may crash then. Zero or less means no limit.
	MaxRate int

	// MaxPayload is the largest payload in bytes; zero or less means 4 MiB, half of the
	// soft limit of a server with default settings (see Limits in the package
	// documentation). More than 6 MiB needs a larger client-output-buffer-limit for pubsub
	// on every server: Publish refuses what a server does not allow, with the server's
	// limit in the *broker.PayloadError, if the user may read it (CONFIG GET).
	MaxPayload int

	// ReceiveBuffer is how many bytes of undelivered messages a subscription holds
	// before the connection, and with it every other subscription, waits for its
	// receiver; each message counts with 128 bytes besides its payload. Zero or less
	// means 16 MiB.
	ReceiveBuffer int

	// ProbeInterval is how often the server of each connection is asked whether it is
	// still one of the fleet's, and ProbeTimeout how long it has to give a sign of life,
	// before the connection counts as lost. A dead link, a frozen server or one that
	// lost its place is thus noticed after at most the sum. ProbeTimeout also bounds
	// opening a connection. Zero or less means 1 and 3 seconds.
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration

	// BackoffMin and BackoffMax bound the pauses between attempts to connect, so that
	// a thousand nodes do not storm a server that comes back: each pause is chosen at
	// random between zero and a limit that doubles from the first to the second.
	// Zero or less means 50 milliseconds and 2 seconds.
	BackoffMin time.Duration
	BackoffMax time.Duration
}

// withDefaults returns a copy with every number filled in. QueueAge stays negative
// if it was.
func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Prefix = cmp.Or(out.Prefix, DefaultPrefix)
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	positive(&out.QueueMessages, 1<<16)
	positive(&out.QueueBytes, 32<<20)
	if out.QueueAge == 0 {
		out.QueueAge = 30 * time.Second
	}
	positive(&out.MaxPayload, 4<<20)
	positive(&out.ReceiveBuffer, 16<<20)
	positive(&out.ProbeInterval, time.Second)
	positive(&out.ProbeTimeout, 3*time.Second)
	positive(&out.BackoffMin, 50*time.Millisecond)
	positive(&out.BackoffMax, max(2*time.Second, out.BackoffMin))
	return out
}

func positive[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
