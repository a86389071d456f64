//go:build linux

package outage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

func (l *losses) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var loss *broker.LossError
	switch {
	case !errors.As(err, &loss):
		l.other++
	case loss.Uncertain:
		l.maybe += loss.Messages
	default:
		l.certain += loss.Messages
	}
}

// load sends streams of numbered messages from north until end is called.
type load struct {
	ns      *backplane.Namespace
	stop    chan struct{}
	streams sync.WaitGroup
	sent    atomic.Int64
	failed  atomic.Pointer[error]
}

// period is the pause between two messages of a stream.
const period = time.Millisecond

func (f *fleet) load(ctx context.Context) *load {
	l := &load{ns: f.Namespace, stop: make(chan struct{})}
	for id := range uint32(streamsOfLoad) {
		l.streams.Go(func() {
			tick := time.NewTicker(period)
			defer tick.Stop()
			for seq := uint64(1); ; seq++ {
				end := uint64(0)
				select {
				case <-tick.C:
				case <-l.stop:
					end = endOf
				}
				if err := l.ns.Broadcast(ctx, appendMessage(nil, id, seq|end), backplane.To("load")); err != nil {
					l.failed.Store(&err)
					return
				}
				l.sent.Add(1)
				if end != 0 {
					return
				}
			}
		})
	}
	return l
}

// end sends the last messages.
func (l *load) end() {
	close(l.stop)
	l.streams.Wait()
}

// hear waits until the processes have received that many more messages.
func (f *fleet) hear(n int) {
	f.east.t.Helper()
	for _, p := range f.processes() {
		least := p.report().Received + n
		p.eventually(fmt.Sprint("at ", least), func() bool { return p.report().Received >= least })
	}
}

// settle ends the load and waits until all of it has been sent or lost. It checks that all losses that north's broker
// counts were reported.
func (f *fleet) settle(ctx context.Context, t *testing.T, s system, l *load) (st broker.Stats, sent int) {
	t.Helper()
	l.end()
	if err := l.failed.Load(); err != nil {
		t.Error(*err)
	}
	for _, p := range f.processes() {
		p.wait("ended")
	}
	b := f.Node().Broker()
	if err := b.Flush(ctx); err != nil {
		_, told := errors.AsType[*broker.LossError](err)
		assert.True(t, told, err)
	}
	st, sent = b.Stats(), int(l.sent.Load())
	say(t, s, fmt.Sprintf("... north sent %d messages; reported lost %d, uncertain %d (announcements included)", sent, st.Lost, st.Uncertain))
	f.east.eventually("all losses of north are reported", func() bool {
		f.lost.mu.Lock()
		defer f.lost.mu.Unlock()
		return uint64(f.lost.certain) == st.Lost && uint64(f.lost.maybe) == st.Uncertain
	})
	return st, sent
}

// books describes the messages that a process has received.
func (p *process) books(r *report) string {
	return fmt.Sprintf("%-5s received %d, missed %d in reported gaps and %d elsewhere, %d twice, %d out of order; interruptions %d",
		p.id, r.Received, r.MissedInGap, r.MissedElsewhere, r.Repeated, r.Disordered, r.Outages)
}

// The server is killed under load and started again. Each message is delivered, or lies within a reported
// interruption, or both. No message arrives twice.
func TestServerKilledUnderLoad(t *testing.T) {
	onEach(t, func(t *testing.T, s system) {
		srv, url := s.start(t)
		f := startFleet(t, s, url)
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		l := f.load(ctx)
		f.hear(1000)
		killed := time.Now()
		srv.Kill()
		for _, p := range f.processes() {
			p.wait("interrupted")
		}
		noticed := time.Since(killed)
		srv.Restart()
		ready := time.Now()
		for _, p := range f.processes() {
			p.wait("resumed")
		}
		f.hear(1000)
		f.meet()
		question := f.ask(t, questions[0])
		say(t, s, fmt.Sprintf("kill -9 of the server under load: noticed everywhere after %s, started again after %s", ms(noticed), ms(ready.Sub(killed))))
		_, sent := f.settle(ctx, t, s, l)
		for _, p := range f.processes() {
			r := p.report()
			say(t, s, fmt.Sprintf("... %s; live %s after the server, first message %s after it", p.books(r), ms(r.Resumed.Sub(ready)), ms(r.First.Sub(ready))))
			assert.Equal(t, sent, r.Received+r.MissedInGap, "%s: the accounting does not balance: sent", p.id)
			assert.Zero(t, r.MissedElsewhere+r.Repeated+r.Disordered, "%s: the accounting does not balance: sent", p.id)
			assert.GreaterOrEqual(t, r.Outages, 1, "%s: the accounting does not balance: sent", p.id)
		}
		row(t, s, "... then: "+questions[0].name, question)
		question.complete(t, "after the outage")
	})
}
