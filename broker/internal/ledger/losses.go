package ledger

import "github.com/crossroom/crossroom/broker"

// tally counts messages and their payloads.
type tally struct{ messages, bytes int }

func (t *tally) add(payload int) { t.messages++; t.bytes += payload }

func (t tally) minus(u tally) tally {
	return tally{t.messages - u.messages, t.bytes - u.bytes}
}

// losses are what was lost so far, for certain and perhaps.
type losses struct {
	lost, uncertain tally
	err             error // of the last one
}

func (l *losses) add(payload int, uncertain bool, err error) {
	if uncertain {
		l.uncertain.add(payload)
	} else {
		l.lost.add(payload)
	}
	l.err = err
}

// since returns what l has more than earlier as an error, nil if nothing.
func (l losses) since(earlier losses) error {
	lost, uncertain := l.lost.minus(earlier.lost), l.uncertain.minus(earlier.uncertain)
	if lost.messages+uncertain.messages == 0 {
		return nil
	}
	return &broker.LossError{Loss: broker.Loss{
		Messages:  lost.messages + uncertain.messages,
		Bytes:     lost.bytes + uncertain.bytes,
		Uncertain: uncertain.messages > 0,
		Err:       l.err,
	}}
}
