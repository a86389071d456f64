package socketio

import (
	"log/slog"
	"time"
)

// Options of a Server. Nil means all defaults. New copies them. Zero and negative values mean the default.
type Options struct {
	// PingInterval is the time between a pong and the next ping, and PingTimeout the limit for a pong. The server
	// sends both to clients, in whole milliseconds. Default: 25 s and 20 s.
	PingInterval, PingTimeout time.Duration

	// ConnectTimeout limits the time of a connection without a namespace. Default: 45 s.
	ConnectTimeout time.Duration

	// CloseTimeout limits the end of a connection: sending the queued packets and the farewell. Default: 5 s.
	CloseTimeout time.Duration

	// MaxPayload limits a packet from a client, including attachments, in bytes. Default: 1,000,000.
	MaxPayload int

	// MaxAttachments limits the attachments of a packet from a client. Default: 10.
	MaxAttachments int

	// MaxQueue and MaxQueueBytes limit the packets and bytes that wait to be sent to one connection. A larger packet
	// is accepted if no other waits. Default: 1,024 and 8 MiB.
	MaxQueue, MaxQueueBytes int

	// MaxTasks limits how many functions passed to Socket.Go run for one connection at the same time. Default: 16.
	MaxTasks int

	// MessageRate limits the messages from one client: at once as many as 40 seconds bring, because clients gather
	// events while they are disconnected, and then so many a second. 16 KiB count as one more. Default: 50.
	MessageRate int

	// Origins are patterns (see path.Match) of hosts, with their ports, whose pages may connect. Pages of the server's
	// own host always may. Default: only those.
	Origins []string

	// Logger gets a line for each connection that ended because of its client. Nil means no log.
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
		{&c.MessageRate, 50},
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
