package brokerkit

import (
	"iter"
	"time"
)

// record is the outbox's state of a message.
type record[M any] struct {
	Size
	at   time.Duration // when it was accepted, after Outbox.born; negative if it never waited
	meta M
	last bool  // last message of its batch
	err  error // known reason for which the system will refuse the message
}

// Batch is a sequence of encoded messages for one write. It is valid until Write returns.
type Batch[M any] struct {
	buf     []byte
	off     int // offset of the first message that is not dropped
	records []record[M]
	head    int // the first record that is not dropped
	refused []refusal
}

type refusal struct {
	message int
	err     error
}

// Bytes returns the encoded messages, concatenated. The slice is valid until Write returns.
func (b *Batch[M]) Bytes() []byte { return b.buf[b.off:] }

// Len returns the number of messages.
func (b *Batch[M]) Len() int { return len(b.records) - b.head }

// All returns each message: the value that was passed to Put, and the encoded bytes.
func (b *Batch[M]) All() iter.Seq2[M, []byte] {
	return func(yield func(M, []byte) bool) {
		at := b.off
		for i := b.head; i < len(b.records); i++ {
			end := at + b.records[i].Wire
			if !yield(b.records[i].meta, b.buf[at:end:end]) {
				return
			}
			at = end
		}
	}
}

// Whole returns how many messages end within the first n bytes.
func (b *Batch[M]) Whole(n int) int {
	whole := 0
	for _, r := range b.records[b.head:] {
		if n -= r.Wire; n < 0 {
			break
		}
		whole++
	}
	return whole
}

// Refuse marks message i as one that the system will refuse, because of err. Write still counts it as handed over; it
// is lost when it is settled.
func (b *Batch[M]) Refuse(i int, err error) { b.refused = append(b.refused, refusal{i, err}) }

func (b *Batch[M]) size() int { return len(b.buf) - b.off }

// drop removes the first message.
func (b *Batch[M]) drop() Size {
	size := b.records[b.head].Size
	b.head++
	b.off += size.Wire
	return size
}

func (b *Batch[M]) reset() {
	clear(b.records)
	b.buf, b.records, b.refused, b.off, b.head = b.buf[:0], b.records[:0], nil, 0, 0
}
