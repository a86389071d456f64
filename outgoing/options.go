package outgoing

import "time"

// Options of a Queue. Nil means all defaults, and so does zero in a field. New copies them.
type Options struct {
	// MaxMessages limits how many messages wait. Without it a client that does not read
	// fills the memory with small messages. Default: 1,024.
	MaxMessages int

	// MaxBytes limits the sum of their sizes. Without it a client that does not read
	// fills the memory with large messages. Default: 4 MiB.
	MaxBytes int

	// MaxVolatile is the number of waiting messages at which volatile ones are dropped.
	// Without it a client that is behind reads outdated positions before the present
	// one, and is disconnected because of them. Default: half of MaxMessages.
	MaxVolatile int

	// WhenFull says what happens to a message that finds no room. Default: Disconnect.
	WhenFull Policy

	// WriteTimeout limits one call of write. Without it a client that stops reading, or
	// a half-open link, keeps a goroutine and all that waits until TCP gives up, which
	// takes many minutes. Negative: no limit, for connections that have another way to
	// notice. Default: 30 s.
	WriteTimeout time.Duration
}

// Policy says what happens to a message that finds its queue full.
type Policy int

const (
	// Disconnect ends the queue with ErrFull. It suits clients that must not miss a
	// message without noticing: they connect again and fetch what they missed.
	Disconnect Policy = iota
	// DropOldest drops the messages that have waited longest, as many as necessary. It
	// suits messages that are outdated by the next one, like prices.
	DropOldest
	// DropNewest drops the message itself, and Push returns false. It suits a sender
	// that can react to that.
	DropNewest
)

// withDefaults returns a copy in which no value is missing.
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

// Stats is what a queue has counted. Each message that was pushed before Close or the
// end is counted once: in Messages, Written, Dropped, DroppedVolatile or Error.Messages.
type Stats struct {
	// Messages and Bytes wait or are being written.
	Messages, Bytes int
	// Written counts messages for which write returned nil.
	Written uint64
	// Dropped counts messages that the policy dropped, or that ended the queue.
	Dropped uint64
	// DroppedVolatile counts volatile messages that were dropped.
	DroppedVolatile uint64
}
