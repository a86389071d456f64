package brokerkit

import (
	"iter"
	"time"
)

// record is what an outbox remembers of a message.
type record[M any] struct {
	Size
	at   time.Duration // when it was accepted, after Outbox.born; negative if it never waited
	meta M
	last bool  // of the batch with which it was handed over
	err  error // why the system will refuse it, if that is known
}

// Batch is a run of encoded messages that are to be written together. It is valid until
// Write returns.
type Batch[M any] struct {
	buf     []byte
	off     int // where the first message begins that is not dropped
	records []record[M]
	head    int // the first record that is not dropped
	refused []refusal
}

type refusal struct {
	message int
	err     error
}

// Bytes returns the encoded messages, one behind the other.
func (b *Batch[M]) Bytes() []byte { return b.buf[b.off:] }

// Len returns how many messages there are.
func (b *Batch[M]) Len() int { return len(b.records) - b.head }

// All returns each message: what was given to Put beside it, and its encoded bytes.
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

// Refuse says of message i that the system will not take it, because of err. Write counts it
// as handed over all the same, and it is lost when its turn comes to be settled.
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
