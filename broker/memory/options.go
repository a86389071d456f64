package memorybroker

import "time"

// Options are the limits of a Bus and its brokers. Nil means all defaults. New and NewBus copy them.
type Options struct {
	// QueueMessages and QueueBytes (of payload) limit the queue of each subscription. A payload larger than QueueBytes
	// fits into an empty queue. Zero or negative means 16,384 messages and 16 MiB.
	QueueMessages, QueueBytes int

	// SlowReceiver limits how long Publish waits for room in the full queue of a subscription. After that the
	// subscription misses messages. Zero means one second. Negative means no wait.
	SlowReceiver time.Duration

	// OutboxMessages and OutboxBytes (of payload) limit the outbox: the messages that a node publishes while its link
	// is cut or it is frozen. Publish waits while the outbox is full. A payload larger than OutboxBytes fits into an
	// empty outbox. Zero or negative means 16,384 messages and 16 MiB.
	OutboxMessages, OutboxBytes int

	// OutboxAge limits how long a message waits in the outbox. After that it is lost, because of ErrTooOld, and
	// reported to the functions of OnLoss. Zero means 30 seconds. Negative means no limit.
	OutboxAge time.Duration

	// MaxPayload is the largest payload in bytes. Zero means 16 MiB. Negative means no limit.
	MaxPayload int
}

const (
	defaultMessages     = 16384
	defaultBytes        = 16 << 20
	defaultSlowReceiver = time.Second
	defaultOutboxAge    = 30 * time.Second
	defaultMaxPayload   = 16 << 20
)

// withDefaults returns a copy with all defaults, in which a negative SlowReceiver, OutboxAge or MaxPayload has become
// zero.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.QueueMessages = orDefault(max(c.QueueMessages, 0), defaultMessages)
	c.QueueBytes = orDefault(max(c.QueueBytes, 0), defaultBytes)
	c.SlowReceiver = orDefault(c.SlowReceiver, defaultSlowReceiver)
	c.OutboxMessages = orDefault(max(c.OutboxMessages, 0), defaultMessages)
	c.OutboxBytes = orDefault(max(c.OutboxBytes, 0), defaultBytes)
	c.OutboxAge = orDefault(c.OutboxAge, defaultOutboxAge)
	c.MaxPayload = orDefault(c.MaxPayload, defaultMaxPayload)
	return c
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return max(v, 0)
}
