package backplane

import (
	"log/slog"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/errorlog"
)

// outage is what is logged of interruptions and losses in place of each of them: a line when it begins, and one with
// all sums after it has ended. health.mu guards it.
type outage struct {
	log func(note error) // nil: the node is being closed

	open          bool
	began, last   time.Time // the first and the last that happened
	interruptions int
	lost, unsure  int // messages
	end           *time.Timer
}

// outageCalm is how long nothing must have happened before an outage is logged as ended. Brokers send what waited up to
// two seconds after their return, and may lose some of it.
const outageCalm = 3 * time.Second

// happened begins the outage, or continues it.
func (o *outage) happened(err error, ended func()) {
	if o.log == nil {
		return
	}
	o.last = time.Now()
	if !o.open {
		o.open, o.began = true, o.last
		o.log(&errorlog.Note{Level: slog.LevelWarn, Text: "outage begins", Cause: "outage", Attrs: []slog.Attr{slog.String("error", cause(err))}})
		o.end = time.AfterFunc(outageCalm, ended)
	}
	o.end.Reset(outageCalm)
}

func (o *outage) interrupted(err error, ended func()) {
	o.happened(err, ended)
	o.interruptions++
}

func (o *outage) loses(l broker.Loss, ended func()) {
	o.happened(&broker.LossError{Loss: l}, ended)
	if l.Uncertain {
		o.unsure += l.Messages
	} else {
		o.lost += l.Messages
	}
}

func (o *outage) resumed() {
	if o.open {
		o.last = time.Now()
		o.end.Reset(outageCalm)
	}
}

// finish logs the end.
func (o *outage) finish() {
	o.end.Stop()
	o.log(&errorlog.Note{Level: slog.LevelInfo, Text: "outage ended", Cause: "outage ended", Attrs: []slog.Attr{
		slog.Duration("duration", o.last.Sub(o.began)), slog.Int("interruptions", o.interruptions),
		slog.Int("lost", o.lost), slog.Int("uncertain", o.unsure),
	}})
	*o = outage{log: o.log}
}

// outageEnds is called after a time without an event.
func (h *health) outageEnds() {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &h.outage
	if o.open && len(h.down) == 0 && o.log != nil && time.Since(o.last) >= outageCalm {
		o.finish()
	}
}

// quiet ends the lines about outages, before the node is closed. Of one that lasts nothing more is logged.
func (h *health) quiet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := &h.outage; o.open {
		if o.end.Stop(); len(h.down) == 0 {
			o.finish()
		}
	}
	h.outage = outage{}
}
