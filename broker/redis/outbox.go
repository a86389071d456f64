package redisbroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

const (
	// batchBytes is how many bytes of commands are gathered for one write. A larger message
	// has a batch of its own.
	batchBytes = 32 << 10
	// windowBytes and windowBatches bound what may be on the wire without an answer: enough
	// to keep the server busy, and as little as possible uncertain when the connection
	// breaks. At least one batch may always be there.
	windowBytes   = 256 << 10
	windowBatches = 64
	// inlineBytes is the largest message that its publisher writes itself. With nothing else
	// on the wire the system's buffer is empty, so that this does not wait, and it spares the
	// time it takes to wake the sender.
	inlineBytes = 4 << 10
)

// outbox is the outbox of Redis: messages are encoded as PUBLISH commands.
type outbox struct {
	*brokerkit.Outbox[struct{}]
	names *naming
}

func newOutbox(names *naming, opts *Options, connector brokerkit.Connector) *outbox {
	return &outbox{names: names, Outbox: brokerkit.NewOutbox[struct{}](brokerkit.OutboxOptions{
		Name: "redis broker", Logger: opts.Logger,
		Messages: opts.QueueMessages, Bytes: opts.QueueBytes, Age: opts.QueueAge, TooOld: ErrTooOld,
		BatchBytes: batchBytes, WindowBytes: windowBytes, WindowBatches: windowBatches, Rate: opts.MaxRate, Inline: inlineBytes,
		BackoffMin: opts.BackoffMin, BackoffMax: opts.BackoffMax,
	}, connector)}
}

// publishHead begins every message.
const publishHead = "*3\r\n$7\r\nPUBLISH\r\n"

// put accepts a message and waits while there is no room.
func (o *outbox) put(ctx context.Context, ch broker.Channel, payload []byte) error {
	name := o.names.size(ch)
	size := len(publishHead) + len("$\r\n\r\n$\r\n\r\n") + digits(name) + name + digits(len(payload)) + len(payload)
	return o.Put(ctx, brokerkit.Size{Payload: len(payload), Wire: size}, struct{}{}, func(buf []byte) []byte {
		buf = append(buf, publishHead...)
		buf = appendHeader(buf, '$', name)
		buf = o.names.appendName(buf, ch)
		buf = append(buf, '\r', '\n')
		buf = appendHeader(buf, '$', len(payload))
		buf = append(buf, payload...)
		return append(buf, '\r', '\n')
	})
}

func digits(n int) int {
	d := 1
	for n >= 10 {
		n /= 10
		d++
	}
	return d
}
