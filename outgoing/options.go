package outgoing

import "time"

// Options configure a Queue. A nil *Options and fields that are zero or negative mean the defaults, except a negative
// WriteTimeout, which means no limit. New copies them.
type Options struct {
	// MaxMessages limits the number of waiting messages. Default: 1,024.
	MaxMessages int

	// MaxBytes limits the sum of the sizes of the waiting messages, as given to Push. Each message takes about 32 bytes
	// of memory in addition. Default: 4 MiB.
	MaxBytes int

	// MaxVolatile is the number of waiting messages, volatile or not, at which Push drops a volatile one. A low value
	// saves a slow client outdated positions. A value above MaxMessages has the effect of MaxMessages. Default: half of
	// MaxMessages.
	MaxVolatile int

	// WhenFull decides about a message that finds the queue full. Default: Disconnect.
	WhenFull Policy

	// WriteTimeout limits one call of write. A negative value means no limit: then the connection itself must detect a
	// client that stops reading, and a half-open link, which TCP alone notices after many minutes. Default: 30 s.
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

// Stats are the counters of a queue. Each message that was pushed before Close or the end is counted in one place:
// here, or in Error.Messages if the queue ended early before the message was written.
type Stats struct {
	// Messages and Bytes count the messages that wait or are being written now.
	Messages, Bytes int
	// Written counts messages for which write returned nil before the queue ended.
	Written uint64
	// Dropped counts messages that the policy dropped, and with Disconnect the one that found the queue full.
	Dropped uint64
	// DroppedVolatile counts volatile messages that were dropped.
	DroppedVolatile uint64
}
