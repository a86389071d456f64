package natsbroker

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Options of a broker. The zero value, and nil, are sensible. The broker takes a copy.
type Options struct {
	// Prefix of all subjects, one or more tokens such as "shop" or "shop.eu"; empty
	// means DefaultPrefix. It does not begin with $ (see the package documentation).
	// Fleets with different prefixes never hear each other.
	Prefix string

	// NATS are further options of the connections, such as nats.RootCAs,
	// nats.UserCredentials or nats.Name, on top of what Open's address or New's
	// connection says. Those about reconnecting, pinging, buffers and callbacks have
	// no effect (see the package documentation).
	NATS []nats.Option

	// Logger gets a line for every lost and every restored connection. Nil means slog.Default(). For silence set
	// slog.New(slog.DiscardHandler).
	Logger *slog.Logger

	// QueueMessages, QueueBytes and QueueAge bound what waits to be sent or for the
	// server's word that it was, so that a server that is away cannot eat the memory,
	// and what is sent after an outage is not stale. Publish waits while either of the
	// first two is reached; bytes count the frame of 16 bytes or more too. A message
	// older than QueueAge is lost (and reported) instead of sent. Zero or less means
	// 65,536 messages, 32 MiB and 30 seconds; a negative age means never too old.
	QueueMessages int
	QueueBytes    int
	QueueAge      time.Duration

	// WindowBytes is how much may be on its way without the server's word that it has
	// it, and so how much is in doubt when a connection breaks. Zero or less means
	// 4 MiB. At least one message may always be on its way.
	WindowBytes int

	// MaxPayload is the largest payload in bytes. Zero or less means what the
	// connection given to New allows, or else 1,032,192, which a server with its
	// default max_payload of 1 MiB takes; in both cases 16 KiB less than the server's
	// limit, for the frame.
	MaxPayload int

	// ReceiveBuffer is how many bytes of undelivered messages a subscription holds for
	// a receiver that is slow; each message counts with 128 bytes besides its payload.
	// When it is full the connection, and with it every other subscription, waits for
	// the receiver, but not for longer than SlowReceiver. What comes after that is
	// missed, until half of the buffer is free again: the receiver is told in the right
	// place (Interrupted with a *broker.LossError, then Resumed). Zero or less means 16
	// MiB and 1 second.
	ReceiveBuffer int
	SlowReceiver  time.Duration

	// ProbeInterval is how long a connection may be silent before the server is
	// asked for a sign of life, and ProbeTimeout how long it has to give one, before
	// the connection counts as lost. A link that is dead without a word, or a frozen
	// server, is thus noticed after at most the sum. ProbeTimeout also bounds opening
	// a connection to one server, and SlowReceiver is at most half of it. Zero or less
	// means 1 and 3 seconds.
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration

	// BackoffMin and BackoffMax bound the pauses between attempts to connect, so that
	// a thousand nodes do not storm a server that comes back: each pause is chosen at
	// random between zero and a limit that doubles from the first to the second.
	// Zero or less means 50 milliseconds and 2 seconds.
	BackoffMin time.Duration
	BackoffMax time.Duration
}

// defaultMaxPayload is that of a server, and what it leaves for payloads.
const defaultMaxPayload = 1<<20 - frameReserve

// withDefaults returns a copy with every number filled in, except MaxPayload.
// QueueAge stays negative if it was.
func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Prefix = cmp.Or(out.Prefix, DefaultPrefix)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
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
	// A reader that waits for a receiver does not hear the server either.
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
