package socketio

import (
	"log/slog"
	"time"
)

// Options of a Server. Nil means all defaults. New copies them. Zero and negative
// values mean the default.
type Options struct {
	// PingInterval is how long after the answer to a ping the next one is sent, and
	// PingTimeout how long an answer may take. Both are told to clients, in whole
	// milliseconds. Default: 25 s and 20 s.
	PingInterval, PingTimeout time.Duration

	// ConnectTimeout is how long a connection may be in no namespace. Default: 45 s.
	ConnectTimeout time.Duration

	// CloseTimeout is how long the end of a connection may take: sending what still
	// waits, and the farewell. Default: 5 s.
	CloseTimeout time.Duration

	// MaxPayload is the size of a packet from a client, attachments included, in
	// bytes. Default: 1,000,000.
	MaxPayload int

	// MaxAttachments of a packet from a client. Default: 10.
	MaxAttachments int

	// MaxQueue and MaxQueueBytes limit what waits to be sent to one connection, in
	// packets and in bytes. A single packet larger than that goes through if nothing
	// else waits. Default: 1,024 and 8 MiB.
	MaxQueue, MaxQueueBytes int

	// MaxTasks is how many functions given to Socket.Go may run for one connection at
	// the same time. Default: 16.
	MaxTasks int

	// Origins are patterns (see path.Match) of hosts, with their ports, whose pages may
	// connect. Pages of the host they connect to always may. Default: only those.
	Origins []string

	// Logger hears of connections that ended because of what a client did. Nil:
	// silence.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.Origins = append([]string(nil), c.Origins...)
	for _, d := range []struct {
		option *time.Duration
		value  time.Duration
	}{
		{&c.PingInterval, 25 * time.Second},
		{&c.PingTimeout, 20 * time.Second},
		{&c.ConnectTimeout, 45 * time.Second},
		{&c.CloseTimeout, 5 * time.Second},
	} {
		if *d.option <= 0 {
			*d.option = d.value
		}
	}
	for _, d := range []struct {
		option *int
		value  int
	}{
		{&c.MaxPayload, 1_000_000},
		{&c.MaxAttachments, 10},
		{&c.MaxQueue, 1024},
		{&c.MaxQueueBytes, 8 << 20},
		{&c.MaxTasks, 16},
	} {
		if *d.option <= 0 {
			*d.option = d.value
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
