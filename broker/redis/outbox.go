package redisbroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

const (
	// batchBytes is how many bytes of commands one write combines. A larger message has a
	// batch of its own.
	batchBytes = 32 << 10
	// windowBytes and windowBatches limit what may be in flight without a reply. That is
	// enough to keep the server busy, and few messages become uncertain when a connection
	// breaks. One batch may always be in flight, whatever its size.
	windowBytes   = 256 << 10
	windowBatches = 64
	// inlineBytes is the largest message that Publish writes itself. While nothing else is in
	// flight the system's buffer is empty, so the write does not wait. It saves the time to
	// wake the sender.
	inlineBytes = 4 << 10
)

// outbox is the outbox of Redis: messages are encoded as PUBLISH commands.
type outbox struct {
	*brokerkit.Outbox[*message]
	names *naming
	head  string // of each message
}

// sending is an outbox, or several.
type sending interface {
	put(ctx context.Context, ch broker.Channel, payload []byte) error
	Flush(ctx context.Context) error
	Close(ctx context.Context) error
	OnLoss(f func(broker.Loss)) (stop func())
	Fill(s *broker.Stats)
}

func newOutbox(names *naming, opts *Options, connector brokerkit.Connector) *outbox {
	head := publishHead
	if opts.Sharded {
		head = shardHead
	}
	return &outbox{names: names, head: head, Outbox: brokerkit.NewOutbox[*message](brokerkit.OutboxOptions{
		Name: "redis broker", Logger: opts.Logger,
		Messages: opts.QueueMessages, Bytes: opts.QueueBytes, Age: opts.QueueAge, TooOld: ErrTooOld,
		BatchBytes: batchBytes, WindowBytes: windowBytes, WindowBatches: windowBatches, Rate: opts.MaxRate, Inline: inlineBytes,
		BackoffMin: opts.BackoffMin, BackoffMax: opts.BackoffMax,
	}, connector)}
}

// What every message begins with.
const (
	publishHead = "*3\r\n$7\r\nPUBLISH\r\n"
	shardHead   = "*3\r\n$8\r\nSPUBLISH\r\n"
)

// put adds a message to the queue. It waits while the queue is full.
func (o *outbox) put(ctx context.Context, ch broker.Channel, payload []byte) error {
	size := brokerkit.Size{Payload: len(payload), Wire: o.size(ch, payload)}
	return o.Put(ctx, size, nil, func(buf []byte) []byte { return o.encode(buf, ch, payload) })
}

func (o *outbox) size(ch broker.Channel, payload []byte) int {
	name := o.names.size(ch)
	return len(o.head) + len("$\r\n\r\n$\r\n\r\n") + digits(name) + name + digits(len(payload)) + len(payload)
}

// encode appends a message.
func (o *outbox) encode(buf []byte, ch broker.Channel, payload []byte) []byte {
	buf = append(buf, o.head...)
	buf = appendHeader(buf, '$', o.names.size(ch))
	buf = o.names.appendName(buf, ch)
	buf = append(buf, '\r', '\n')
	buf = appendHeader(buf, '$', len(payload))
	buf = append(buf, payload...)
	return append(buf, '\r', '\n')
}

func digits(n int) int {
	d := 1
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}
