package brokerkit

import "time"

// pace limits how many bytes a second leave the outbox. The outbox's mutex guards it.
type pace struct {
	rate  int           // bytes a second; zero: no limit
	ready time.Duration // since Outbox.born: when the bytes that have left are paid for
	armed bool          // a timer will wake the sender
}

// paceBurst is how far ahead of its rate the outbox may be, so that a message that comes
// alone does not wait.
const paceBurst = time.Second / 8

// wait returns how long the next batch must wait; zero if it may go.
func (p *pace) wait(now time.Duration) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	return max(0, p.ready-now-paceBurst)
}

// spend counts bytes that leave the outbox. A batch that is larger than the burst leaves
// whole, and the batches behind it wait the longer.
func (p *pace) spend(size int, now time.Duration) {
	if p.rate > 0 {
		p.ready = max(p.ready, now) + time.Duration(float64(size)/float64(p.rate)*float64(time.Second))
	}
}
