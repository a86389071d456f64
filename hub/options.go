package hub

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/outgoing"
)

// Options configure a Hub. A nil *Options and zero fields mean the defaults. Negative numbers and times are an
// *OptionError, except a negative Rate, which means no limit, and limits of Queue, which then mean the defaults. New
// copies them.
type Options struct {
	// Authenticate is called for each request before its connection is accepted. The connection gets the user and the
	// rooms that it returns. A *StatusError refuses with that status; another error, or a panic, refuses with 500 and
	// is reported. It runs on the goroutine of the HTTP server. Nil admits all clients, without a user.
	Authenticate func(r *http.Request) (Identity, error)

	// OnConnect is called once, when the connection has entered its rooms, so that messages can reach it, and before the
	// client's first message is read. An error closes the connection, as one of OnMessage does.
	OnConnect func(ctx context.Context, c *Conn) error

	// OnMessage is called with each message of a WebSocket client, one at a time for a connection, on a goroutine of
	// the connection. The connection is not read meanwhile, so it should not take seconds: see "Callbacks" in the package
	// documentation. ctx ends with the connection. A *CloseError closes the connection with its code; another error, or
	// a panic, closes it with 1011 and is reported. Nil drops the messages.
	OnMessage func(ctx context.Context, c *Conn, m Message) error

	// OnDisconnect is called once for each connection whose OnConnect was called, or would have been if that is nil. The
	// connection has ended then, its other callbacks have returned, and no message can reach it. OnDisconnect may block;
	// Drain and Close wait for it.
	OnDisconnect func(c *Conn, reason *CloseError)

	// Resume is called for an event stream whose client sends Last-Event-ID, after the stream has entered its rooms and
	// before it is accepted. Messages that are sent meanwhile wait. It returns the messages that the client missed,
	// which go out first. Live messages that have the ID of one of them are left out. ErrGap means that older messages
	// are missing too: the client gets an event "gap", as it does without Resume. Another error refuses the request, as
	// one of Authenticate does. ctx ends after Queue.WriteTimeout, 30 s by default, or with the connection.
	Resume func(ctx context.Context, c *Conn, lastEventID string) ([]Message, error)

	// Origins are the hosts of pages that may connect, besides the host of the request: patterns of path.Match, such
	// as "*.example.com" or "localhost:*". "*" admits all pages. Requests without an Origin, which browsers do not
	// send to a WebSocket, are admitted, except those of an event stream that Sec-Fetch-Site says are cross-site.
	Origins []string

	// MaxMessage limits a message of a client, in bytes. A larger one closes the connection with 1009. Default: 64 KiB.
	MaxMessage int

	// Rate limits the messages of a client in a second, and Burst those at once. More close the connection with 1008.
	// Default: 100 and twice the Rate. A negative Rate means no limit.
	Rate, Burst int

	// MaxConnections limits the connections of this server, streams included. More are refused with 503. Default: no
	// limit. The operating system limits the number of open files.
	MaxConnections int

	// PingInterval is the interval of pings to a client that sends nothing, and of comments to an event stream, so that
	// proxies keep the connection open. Default: 25 s.
	PingInterval time.Duration

	// PingTimeout limits the answer to a ping. After that the connection is broken off, unless OnMessage runs or messages
	// were read meanwhile, which the answer may be behind: then the next ping decides. Default: 20 s.
	PingTimeout time.Duration

	// IdleTimeout closes a WebSocket with 1000 if its client has sent no message for that time. Pongs do not count.
	// Default: none, because many clients only listen.
	IdleTimeout time.Duration

	// CloseTimeout limits the time for queued messages and the closing handshake. After that the connection is broken off.
	// Default: 5 s.
	CloseTimeout time.Duration

	// Retry is the time after which the clients of event streams should reconnect. Each client gets a random time between
	// half and one and a half of it. Default: 2 s.
	Retry time.Duration

	// Queue has the limits of each connection's outgoing queue, and its policy. With the policy Disconnect, which is the
	// default, a client that does not read is broken off, with code 1008 in CloseError and Stats. A negative WriteTimeout
	// is an *OptionError.
	Queue outgoing.Options

	// Refuse and OnOperation say which operations of other servers this one does not carry out, as those of
	// backplane.NamespaceOptions do. OnOperation must not block, or call the hub. These operations belong to methods of
	// a Hub: Broadcasts to Send, AckBroadcasts to SendAck, Requests to Kick, Queries to Connections, Joins to Join, and
	// Leaves to Leave.
	Refuse      backplane.Operations
	OnOperation func(op *backplane.Operation) error

	// Logger and OnError get the errors that no call returns: panics of the other callbacks, their errors that are
	// neither a *CloseError nor a *StatusError, rooms that the broker does not take, and unreadable messages of other
	// servers. An error that OnConnect or OnMessage returns after the connection has ended is not reported. Logger and
	// OnError are called on a goroutine of their own, one call at a time, and Close waits for them. The first four
	// errors of one cause, such as those of OnMessage, are reported at once. Those that follow are reported as one in a
	// second, with their number. A nil Logger means slog.Default(), or no log if OnError is set.
	Logger  *slog.Logger
	OnError func(error)
}

// Identity is the result of Options.Authenticate for one client.
type Identity struct {
	// User is the name for User targets; empty for none. A user may have any number of connections. The name and those of
	// rooms have at most 4,094 bytes of UTF-8.
	User string
	// Rooms are the rooms that the connection enters. Their number is not limited.
	Rooms []string
	// Value is data of the application, which Conn.Value returns. The hub does not use it.
	Value any
}

func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	c.Origins = append([]string(nil), c.Origins...)
	for _, pattern := range c.Origins {
		if _, err := path.Match(pattern, ""); err != nil {
			return c, &OptionError{"Origins", "the pattern " + pattern + " is malformed"}
		}
	}
	for name, d := range map[string]time.Duration{"PingInterval": c.PingInterval, "PingTimeout": c.PingTimeout,
		"IdleTimeout": c.IdleTimeout, "CloseTimeout": c.CloseTimeout, "Retry": c.Retry, "Queue.WriteTimeout": c.Queue.WriteTimeout} {
		if d < 0 {
			return c, &OptionError{name, "negative"}
		}
	}
	for name, n := range map[string]int{"MaxMessage": c.MaxMessage, "Burst": c.Burst, "MaxConnections": c.MaxConnections} {
		if n < 0 {
			return c, &OptionError{name, "negative"}
		}
	}
	c.MaxMessage = or(c.MaxMessage, 64<<10)
	c.Rate = or(c.Rate, 100)
	c.Burst = or(c.Burst, 2*c.Rate)
	c.PingInterval = or(c.PingInterval, 25*time.Second)
	c.PingTimeout = or(c.PingTimeout, 20*time.Second)
	c.CloseTimeout = or(c.CloseTimeout, 5*time.Second)
	c.Retry = or(c.Retry, 2*time.Second)
	c.Queue.WriteTimeout = or(c.Queue.WriteTimeout, 30*time.Second)
	return c, nil
}

func or[T int | time.Duration](value, byDefault T) T {
	if value == 0 {
		return byDefault
	}
	return value
}

// OptionError reports an option with an invalid value.
type OptionError struct{ Option, Reason string }

func (e *OptionError) Error() string { return "hub: option " + e.Option + ": " + e.Reason }
