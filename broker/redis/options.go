package redisbroker

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Options configure a broker. The zero value and nil mean the defaults. The broker copies them.
type Options struct {
	// Prefix is the prefix of all channel names; empty means DefaultPrefix. Fleets with different
	// prefixes on one Redis are separate.
	Prefix string

	// Sharded publishes and subscribes by the sharded pub/sub of Redis 7 (SPUBLISH, SSUBSCRIBE): on a cluster a message
	// then costs only the master that serves its channel. See "Sharded pub/sub" in the package documentation. All nodes
	// of a fleet must have the same setting: brokers with and without it never receive each other's messages.
	Sharded bool

	// SubscribeClient is the client for subscribing and counting; nil means the client given to New or made by Open. Set
	// it if the fleet subscribes at other servers than those it publishes to, or as another user. The caller closes it
	// after the broker.
	SubscribeClient redis.UniversalClient

	// Logger gets a line for each lost and each restored connection, for lost messages, for refused filters, and if other
	// brokers use the prefix with the other setting of Sharded. While a function is registered by OnLoss, as by a node,
	// which logs outages itself, the lines about connections have level debug, and lost messages have none. Nil means
	// slog.Default(). For silence set slog.New(slog.DiscardHandler).
	Logger *slog.Logger

	conns *lifecycle.Log // of the lines about connections

	// QueueMessages, QueueBytes and QueueAge limit the queue, so that an outage costs a limited amount of memory, and
	// messages sent after it are not stale. Publish waits while the queue holds QueueMessages messages or QueueBytes
	// bytes. Messages in flight count (up to 256 KiB), and bytes include channel names and about 40 bytes for each
	// message. A message larger than QueueBytes is accepted into an empty queue. In an outage, and with MaxRate, a queued
	// message older than QueueAge is lost, and reported. Zero means 65,536 messages, 32 MiB and 30 seconds. Less than zero
	// means the same, except that a negative QueueAge means no limit.
	QueueMessages int
	QueueBytes    int
	QueueAge      time.Duration

	// MaxRate limits how many bytes of commands a second this broker sends. A burst of an eighth
	// of a second is allowed, and a larger message is sent whole. Other messages wait in the queue.
	// Set it where a flood would make the server disconnect slow subscribers (see Limits in the
	// package documentation): servers of @socket.io/redis-adapter on node-redis may crash then.
	// Zero or less means no limit.
	MaxRate int

	// MaxPayload is the largest payload in bytes; zero or less means 4 MiB, half of the soft limit of a server with
	// default settings (see Limits in the package documentation). More than 6,645,350 bytes needs a larger
	// client-output-buffer-limit for pubsub on every server. If the user may read that limit (CONFIG GET), Publish
	// refuses larger payloads with a *broker.PayloadError that has the server's limit.
	MaxPayload int

	// ReceiveBuffer is how many bytes of undelivered messages a subscription may hold. Each message counts 128 bytes in
	// addition to its payload. A larger message is accepted into an empty buffer. While a buffer is full, the
	// connection, and with it every other subscription, waits for its receiver for at most SlowReceiver. Such waits of
	// all receivers together take at most a quarter of the time in the long run. After that the receiver misses
	// messages until half of the buffer is free, and gets Interrupted, with a *broker.LossError that wraps
	// broker.ErrSlowReceiver, and Resumed in their place. Zero or less means 16 MiB and 1 second.
	ReceiveBuffer int
	SlowReceiver  time.Duration

	// ProbeInterval is the time between two examinations of the server of each connection. ProbeTimeout is how long the
	// server may then send nothing before the connection counts as lost. So a dead link or a frozen server is noticed
	// after at most the sum of both; see Outages in the package documentation for servers that have lost their place.
	// ProbeTimeout also limits opening a connection. Zero or less means 1 second and 3 seconds.
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration

	// BackoffMin and BackoffMax limit the pauses between attempts to connect, so that many nodes do not reconnect at the
	// same moment. Each pause is random, between zero and a limit that doubles from BackoffMin to BackoffMax. Zero or
	// less means 50 milliseconds and 2 seconds. All brokers of a fleet should have the same values: after an outage, a
	// broker waits with its queued messages for as long as the others may pause.
	BackoffMin time.Duration
	BackoffMax time.Duration
}

// withDefaults returns a copy with a value in every number. A negative QueueAge stays negative.
func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Prefix = cmp.Or(out.Prefix, DefaultPrefix)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	out.conns = &lifecycle.Log{To: out.Logger}
	positive(&out.QueueMessages, 1<<16)
	positive(&out.QueueBytes, 32<<20)
	if out.QueueAge == 0 {
		out.QueueAge = 30 * time.Second
	}
	positive(&out.MaxPayload, 4<<20)
	positive(&out.ReceiveBuffer, 16<<20)
	positive(&out.SlowReceiver, time.Second)
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
