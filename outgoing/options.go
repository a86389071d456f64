package outgoing

import "time"

// Options of a Queue. A nil *Options and zero fields mean the defaults. New copies them.
type Options struct {
	// MaxMessages limits the number of waiting messages. Without it a client that does not read fills the memory with
	// small messages. Default: 1,024.
	MaxMessages int

	// MaxBytes limits the sum of the sizes of the waiting messages. Without it a client that does not read fills the
	// memory with large messages. Default: 4 MiB.
	MaxBytes int

	// MaxVolatile is the number of waiting messages from which on volatile messages are dropped. Without it a slow
	// client reads outdated positions before the current one, and is disconnected because of them. Default: half of
	// MaxMessages.
	MaxVolatile int

	// WhenFull decides about a message that finds no room. Default: Disconnect.
	WhenFull Policy

	// WriteTimeout limits one call of write. Without it a client that stops reading, or a half-open link, keeps a
	// goroutine and all waiting messages until TCP gives up, which takes many minutes. A negative value means no
	// limit, for connections that detect this themselves. Default: 30 s.
	WriteTimeout time.Duration
}

// Policy decides about a message that finds its queue full.
type Policy int

const (
	// Disconnect ends the queue with ErrFull. It suits clients that must notice every lost message: they reconnect and
	// fetch what they missed.
	Disconnect Policy = iota
	// DropOldest drops the messages that have waited longest, as many as necessary. It suits messages that the next
	// one replaces, such as prices.
	DropOldest
	// DropNewest drops the message itself, and Push returns false. It suits a sender that can react to that.
	DropNewest
)

// withDefaults returns a copy with every default filled in.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.MaxMessages <= 0 {
		c.MaxMessages = 1024
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 20
	}
	if c.MaxVolatile <= 0 {
		c.MaxVolatile = max(1, c.MaxMessages/2)
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
	return c
}

// Stats are the counters of a queue. Each message that was pushed before Close or the end is counted once: in
// Messages, Written, Dropped, DroppedVolatile or Error.Messages.
type Stats struct {
	// Messages and Bytes count what waits or is being written.
	Messages, Bytes int
	// Written counts messages for which write returned nil.
	Written uint64
	// Dropped counts messages that the policy dropped, and messages that ended the queue.
	Dropped uint64
	// DroppedVolatile counts volatile messages that were dropped.
	DroppedVolatile uint64
}
