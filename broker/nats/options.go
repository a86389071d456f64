package natsbroker

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Options configure a broker. The zero value and nil mean the defaults. The broker copies them.
type Options struct {
	// Prefix is the prefix of all subjects: one or more tokens such as "shop" or "shop.eu"; empty
	// means DefaultPrefix. It must not begin with $ (see the package documentation). Fleets with
	// different prefixes are separate.
	Prefix string

	// NATS are further options of the connections, such as nats.RootCAs, nats.UserCredentials or
	// nats.Name. They are applied after Open's addresses or the options of New's connection.
	// Options for reconnecting, pings, buffers and event handlers have no effect (see the package
	// documentation).
	NATS []nats.Option

	// Logger gets a line for each lost and each restored connection, for lost messages, and for refused subscriptions.
	// While a function is registered by OnLoss, as by a node, which logs outages itself, the lines about connections have
	// level debug, and lost messages have none. Nil means slog.Default(). For silence set slog.New(slog.DiscardHandler).
	Logger *slog.Logger

	conns *lifecycle.Log // of the lines about connections

	// QueueMessages, QueueBytes and QueueAge limit the messages that are queued or in flight, so that an outage costs a
	// limited amount of memory, and messages sent after it are not stale. Publish waits while there are QueueMessages
	// messages or QueueBytes bytes. Bytes include the frame (see Subjects in the package documentation). A message larger
	// than QueueBytes is accepted when there is no other. In an outage a queued message older than QueueAge is lost, and
	// reported. Zero means 65,536 messages, 32 MiB and 30 seconds. Less than zero means the same, except that a negative
	// QueueAge means no limit.
	QueueMessages int
	QueueBytes    int
	QueueAge      time.Duration

	// WindowBytes limits how many bytes may be in flight without the server's acknowledgement.
	// These are uncertain when a connection breaks. One message may always be in flight, whatever
	// its size. Zero or less means 4 MiB.
	WindowBytes int

	// MaxPayload is the largest payload in bytes. Zero or less means the max_payload of the server of New's connection
	// less 16 KiB, which is room for the largest frame. If New's connection does not know it, and with Open, that is
	// 1,032,192 bytes, for a server with the default max_payload of 1 MiB. A server that accepts less makes Publish
	// return a *broker.PayloadError once the broker has connected to it.
	MaxPayload int

	// ReceiveBuffer is how many bytes of undelivered messages a subscription may hold. Each message counts 128 bytes in
	// addition to its payload. A larger message is accepted into an empty buffer. While a buffer is full, the
	// connection, and with it every other subscription, waits for its receiver for at most SlowReceiver. Such waits of
	// all receivers together take at most a quarter of the time in the long run. After that the receiver misses
	// messages until half of the buffer is free, and gets Interrupted, with a *broker.LossError that wraps
	// broker.ErrSlowReceiver, and Resumed in their place. Zero or less means 16 MiB and 1 second. A SlowReceiver above
	// half of ProbeTimeout counts as that half.
	ReceiveBuffer int
	SlowReceiver  time.Duration

	// ProbeInterval is how long a connection may be idle before the broker pings the server.
	// ProbeTimeout is the time within which the server must then send anything before the
	// connection counts as lost. So a dead link or a frozen server is noticed after at most the sum
	// of both. ProbeTimeout also limits dialing one IP address of a server, and the handshake. Zero
	// or less means 1 second and 3 seconds.
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration

	// BackoffMin and BackoffMax limit the pauses between attempts to connect, so that many nodes do
	// not reconnect at the same moment. Each pause is random, between zero and a limit that doubles
	// from BackoffMin to BackoffMax. Zero or less means 50 milliseconds and 2 seconds.
	BackoffMin time.Duration
	BackoffMax time.Duration
}

// defaultMaxPayload is the max_payload of a server with default settings, less frameReserve.
const defaultMaxPayload = 1<<20 - frameReserve

// withDefaults returns a copy with a value in every number except MaxPayload. A negative QueueAge
// stays negative.
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
	positive(&out.WindowBytes, 4<<20)
	positive(&out.ReceiveBuffer, 16<<20)
	positive(&out.SlowReceiver, time.Second)
	positive(&out.ProbeInterval, time.Second)
	positive(&out.ProbeTimeout, 3*time.Second)
	// While the reader waits for a receiver it does not read from the server either.
	out.SlowReceiver = min(out.SlowReceiver, out.ProbeTimeout/2)
	positive(&out.BackoffMin, 50*time.Millisecond)
	positive(&out.BackoffMax, max(2*time.Second, out.BackoffMin))
	return out
}

func positive[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
