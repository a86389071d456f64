package brokerkit

import "time"

// pace limits the bytes per second that leave the outbox. The outbox's mutex guards it.
type pace struct {
	rate  int           // bytes a second; zero: no limit
	ready time.Duration // since Outbox.born: when the rate has caught up with the sent bytes
	armed bool          // a timer will wake the sender
}

// paceBurst is how far the outbox may be ahead of its rate, so that a single message does not wait.
const paceBurst = time.Second / 8

// wait returns how long the next batch must wait; zero if it may be sent.
func (p *pace) wait(now time.Duration) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	return max(0, p.ready-now-paceBurst)
}

// spend counts bytes that leave the outbox. A batch larger than the burst leaves whole, and the next batches wait
// longer.
func (p *pace) spend(size int, now time.Duration) {
	if p.rate > 0 {
		p.ready = max(p.ready, now) + time.Duration(float64(size)/float64(p.rate)*float64(time.Second))
	}
}
