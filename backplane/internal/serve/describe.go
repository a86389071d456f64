package serve

import (
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// describeAtOnce is the number of members that are described at a time.
const describeAtOnce = 64

// describer is backplane.Describer.
type describer interface{ Describe() []byte }

// describe calls Describe of the members in list for MembersDetail, each on a goroutine of its own,
// some at a time. If no call returns within the time limit for members' methods, the remaining
// members are reported as stalled. They are listed without data, and not called again before their
// calls have returned.
func (d *Desk[M]) describe(list []*rooms.Entry[M], infos []wire.MemberInfo) {
	for len(list) > 0 {
		some := min(describeAtOnce, len(list))
		d.describeSome(list[:some], infos[:some])
		d.trim(infos[:some])
		list, infos = list[some:], infos[some:]
	}
}

// description is a call of one Describe.
type description[M any] struct {
	entry *rooms.Entry[M]
	info  *wire.MemberInfo
	data  []byte
	over  atomic.Bool // set by the first of: the call returns, it is abandoned
}

func (d *Desk[M]) describeSome(list []*rooms.Entry[M], infos []wire.MemberInfo) {
	calls := make([]description[M], len(list))
	returned := make(chan *description[M], len(list))
	waiting := 0
	for i, e := range list {
		m, ok := any(e.Member).(describer)
		if !ok || e.Muted() {
			continue
		}
		c := &calls[i]
		c.entry, c.info = e, &infos[i]
		waiting++
		go c.run(d.o.Monitor, m, returned) // ends with the method
	}
	watch := d.patience.Watch()
	var look *time.Timer
	var looks <-chan time.Time
	if waiting > 0 && d.o.StallTimeout > 0 {
		look = time.NewTimer(watch.Pause())
		defer look.Stop()
		looks = look.C
	}
	for news := false; waiting > 0; {
		select {
		case c := <-returned:
			c.info.Data = c.data
			waiting--
			news = true
		case <-looks:
			if news {
				news, watch = false, d.patience.Watch()
			}
			late := watch.Late()
			look.Reset(watch.Pause())
			if !late {
				continue
			}
			d.patience.Lose()
			for i := range calls {
				if c := &calls[i]; c.entry != nil && c.over.CompareAndSwap(false, true) {
					waiting--
					if c.entry.Mute() {
						d.o.Stalled(c.entry.ID())
					}
				}
			}
		}
	}
}

// run calls the method.
func (c *description[M]) run(mon *monitor.Monitor, m describer, returned chan<- *description[M]) {
	defer func() { // also if the method ends its goroutine
		if v := recover(); v != nil {
			mon.Panicked("Describe", c.entry.ID(), v)
		}
		if c.over.CompareAndSwap(false, true) {
			returned <- c
		} else {
			c.entry.Unmute()
		}
	}()
	c.data = m.Describe()
}
