package outgoing

import "time"

// Options of a Queue. Nil means all defaults. New copies them.
type Options struct {
	// MaxMessages limits the messages that wait. It prevents that a client that does not
	// read fills the memory with many small messages. At least 1. Default: 1,024.
	MaxMessages int

	// MaxBytes limits the sum of their sizes. It prevents the same with few large
	// messages. At least 1. Default: 4 MiB.
	MaxBytes int

	// MaxVolatile is how many messages may wait for a volatile message to be accepted. It
	// prevents that a client that is behind reads outdated positions or ticks before
	// the present ones. 1 to MaxMessages. Default: half of MaxMessages.
	MaxVolatile int

	// WhenFull says what becomes of a message that finds no room. Default: Disconnect.
	WhenFull Policy

	// WriteTimeout is how long one call of write may take. It prevents that a client
	// that has stopped reading, or a link that is half open, keeps a goroutine and the
	// messages until TCP gives up, many minutes later. Negative: no limit, for a write that has
	// a deadline of its own. Default: 30 s.
	WriteTimeout time.Duration
}

// Policy says what becomes of a message that finds its queue full.
type Policy int

const (
	// Disconnect ends the queue with ErrFull. It is for clients that must not miss a
	// message without knowing: they connect again and fetch what they missed.
	Disconnect Policy = iota
	// DropOldest drops the messages that have waited longest, as many as necessary. It is for
	// messages that the next one replaces, like prices.
	DropOldest
	// DropNewest drops the message itself, and Push returns false. It is for a sender
	// that can wait or choose, because it learns at once that the client is behind.
	DropNewest
)

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

// Stats are what a queue has counted. Every call of Push before the end of the queue is in
// exactly one of Messages, Written, Dropped, DroppedVolatile and Error.Messages.
type Stats struct {
	// Messages and Bytes wait or are being written.
	Messages, Bytes int
	// Written messages: write returned nil for them.
	Written uint64
	// Dropped messages, because the queue was full.
	Dropped uint64
	// DroppedVolatile messages, because other messages waited.
	DroppedVolatile uint64
}
