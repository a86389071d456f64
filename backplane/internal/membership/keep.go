package membership

import (
	"errors"
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// maxFrames limits the control frames that wait. After an overflow this node greets all others again.
const maxFrames = 1024

// maxTwins limits how many other nodes with this node's id are distinguished.
const maxTwins = 16

// item is a frame or, with a zero channel, the start of an interruption or, if err is nil, its end.
type item struct {
	ch      broker.Channel
	payload []byte
	err     error
}

var errUnknownOutage = errors.New("the broker gave no reason")

// Deliver implements broker.Receiver.
func (m *Membership) Deliver(ch broker.Channel, payload []byte) {
	if m.announcer.lease.heard() {
		m.o.Events.Proven()
	}
	if m.o.NoteArrivals {
		m.lastMessage.Store(time.Now().UnixNano())
	}
	if m.o.Verify != nil && !m.o.Verify(ch, payload) {
		return
	}
	select {
	case m.frames <- item{ch: ch, payload: payload}:
	default:
		m.overflow.Add(1)
		m.o.Events.Overflowed()
	}
}

// Interrupted implements broker.Receiver.
func (m *Membership) Interrupted(err error) {
	if err == nil {
		err = errUnknownOutage
	}
	m.peers.setDown(true) // requests from now on may miss nodes
	m.link(item{err: err})
}

// Resumed implements broker.Receiver.
func (m *Membership) Resumed() { m.link(item{}) }

func (m *Membership) link(it item) {
	select {
	case m.frames <- it:
	case <-m.stop:
	}
}

// keep is the keeper goroutine: it handles control frames, and watches the peers.
func (m *Membership) keep() {
	insist := time.NewTimer(m.introTime / 4)
	defer insist.Stop()
	look, report := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer look.Stop()
	defer report.Stop()
	looks, reporting := time.Time{}, false // when look fires; report will
	var downSince time.Time
	// A node receives its own signs of life too. If even these are missing, the link is dead, which the broker may
	// notice only later, or this process was stopped for a while: the peers are not lost.
	heard, silence := time.Now(), max(m.o.PeerTimeout-m.o.Heartbeat, 2*m.o.Heartbeat)
	for {
		select {
		case <-m.stop:
			return
		case it := <-m.frames:
			switch {
			case it.ch.Kind() != 0:
				now := time.Now()
				if now.Sub(heard) > silence {
					m.peers.refresh(now)
				}
				heard = now
				m.take(it.ch, it.payload)
			case it.err != nil:
				downSince = time.Now()
				m.peers.setDown(true)
				m.o.Events.Interrupted(it.err)
			default:
				m.peers.refresh(time.Now())
				m.introduce()
				m.peers.setDown(false)
				m.announcer.greet()
				m.o.Events.Resumed(time.Since(downSince))
			}
		case <-m.retry:
			insist.Reset(m.introTime / 4)
		case <-insist.C:
			if m.insist() {
				insist.Reset(m.introTime / 4)
			}
		case <-look.C:
			looks = time.Time{}
			if now := time.Now(); len(m.frames) > 0 {
				m.peers.lookAt(now.Add(time.Millisecond)) // waiting frames may be signs of life
			} else if now.Sub(heard) <= silence {
				m.look(now)
			} else {
				m.peers.lookAt(time.Time{}) // until a frame comes
			}
		case <-report.C:
			reporting = false
			m.report()
		}
		if at := m.peers.nextLook(); !at.IsZero() && (looks.IsZero() || at.Before(looks)) {
			looks = at
			look.Reset(time.Until(at))
		}
		if !reporting && (m.overflow.Load() > 0 || m.peers.hasRefused()) {
			reporting = true
			report.Reset(m.introTime / 4)
		}
	}
}

// look checks the peers, and acts on the result.
func (m *Membership) look(now time.Time) {
	s := m.peers.look(now)
	m.announcer.ask(s.probe...)
	if len(s.accuse) > 0 {
		m.announcer.note(func(d *due) { d.accused = append(d.accused, s.accuse...) })
	}
	for _, id := range s.dead {
		m.left(id, nil)
	}
}

// insist repeats unanswered requests. It reports whether there is something to wait for.
func (m *Membership) insist() (again bool) {
	ask, greet, again := m.peers.insist()
	m.announcer.ask(ask...)
	if greet {
		m.announcer.greet()
	}
	return again || greet
}

// report reports the announcements that were lost or refused.
func (m *Membership) report() {
	lost, refused := int(m.overflow.Swap(0)), m.peers.takeRefused()
	if lost > 0 && time.Since(m.greeted) >= m.o.Heartbeat {
		m.greeted = time.Now()
		m.introduce() // the senders of lost frames must send them again
	}
	if lost > 0 || refused > 0 {
		m.o.Events.Incomplete(lost, refused)
	}
}

// take handles one control frame.
func (m *Membership) take(ch broker.Channel, payload []byte) {
	var f frame
	switch err := f.decode(payload); {
	case errors.Is(err, errLater):
		m.o.Events.Foreign()
		return
	case err != nil:
		m.o.Events.Unreadable(ch, err)
		return
	}
	if f.id == m.o.ID {
		m.takeOwn(&f)
		return
	}
	if f.kind == kindBye {
		if m.peers.goodbye(f.id, f.since) {
			m.left(f.id, nil)
		}
		return
	}
	direct := ch.Name() != ""
	news := m.peers.note(&f, direct)
	switch {
	case f.kind == kindHello:
		m.announcer.reply(f.id)
	case f.kind == kindAsk && direct:
		m.announcer.answer(&f)
	case f.kind == kindAccuse:
		m.accused(f.accused)
	}
	if news.missed {
		m.announcer.tell(accusation{id: f.id, since: f.since})
	}
	if f.kind == kindFull {
		m.announcer.ask(m.peers.introduced(&f)...)
	}
	if news.ask {
		m.announcer.note(func(d *due) { d.asks[f.id] = news.known })
		signal(m.retry)
	}
	switch {
	case news.current && m.Blind():
		m.announcer.confirm(f.id, revisionOf{f.since, news.revision})
	case news.echo && !news.ask && (f.kind != kindAsk || !direct):
		m.announcer.confirm(f.id, revisionOf{f.since, 0})
	}
	if len(news.left) > 0 {
		m.left(f.id, news.left)
	}
}

// accused handles accusations.
func (m *Membership) accused(list []accusation) {
	now := time.Now()
	for i := range list {
		a := &list[i]
		switch {
		case a.id == m.o.ID:
			if a.since == m.o.Since.UnixNano() {
				m.announcer.defend()
			}
		case m.peers.accused(a, now):
			m.announcer.tell(*a)
		}
	}
}

// takeOwn handles a frame with this node's id: its own, or that of another node.
func (m *Membership) takeOwn(f *frame) {
	if f.since != m.o.Since.UnixNano() {
		m.twin(f)
		return
	}
	if m.announcer.lease.echo(f.number) {
		m.o.Events.Proven()
	}
	if m.announcer.forged(f.revision) {
		m.announcer.defend()
	}
	switch {
	case f.kind == kindHello:
		m.peers.echo()
	case f.kind == kindBye && m.o.Life.Err() == nil:
		m.announcer.reply(everybody) // the frame is not true
	}
}

// twin reports another running node with this node's id, once for each life of it.
func (m *Membership) twin(f *frame) {
	i := slices.Index(m.twins, f.since)
	switch {
	case f.kind == kindBye: // perhaps of an earlier life of this node
		if i >= 0 {
			m.twins = slices.Delete(m.twins, i, i+1)
		}
	case i < 0:
		if len(m.twins) >= maxTwins {
			m.twins = slices.Delete(m.twins, 0, 1)
		}
		m.twins = append(m.twins, f.since)
		m.o.Events.Duplicate(time.Unix(0, f.since))
	}
}
