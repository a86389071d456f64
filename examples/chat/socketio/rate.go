package socketio

import "time"

// rate limits the messages of a client. It is for one goroutine.
type rate struct {
	perSecond, most, left float64
	at                    time.Time
}

const (
	// gathered is for how many seconds a client may have gathered messages.
	gathered = 40
	// messageBytes is how many bytes count as one more message.
	messageBytes = 16 << 10
)

func newRate(perSecond int) rate {
	most := float64(gathered * perSecond)
	return rate{float64(perSecond), most, most, time.Now()}
}

// allows counts a message of some bytes.
func (r *rate) allows(bytes int) bool {
	now := time.Now()
	r.left = min(r.most, r.left+r.perSecond*now.Sub(r.at).Seconds()) - 1 - float64(bytes)/messageBytes
	r.at = now
	return r.left >= 0
}
