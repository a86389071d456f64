//go:build linux

package outage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/servers"
)

// In a cluster of three servers with a node on each, two servers are killed under load, one after the other: that of a
// receiver, then that of the sender. Their nodes continue with another server, and no message arrives twice. A
// receiver misses only messages within a reported interruption, and those that the sender reported as uncertain when
// it lost its server.
func TestServerOfClusterKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := cluster
	c := servers.StartNATSCluster(t, nil)
	f := startFleet(t, s, c.Nodes[0].URL(), c.Nodes[1].URL(), c.Nodes[2].URL())
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	l := f.load(ctx)
	f.hear(1000)

	killed := time.Now()
	c.Nodes[1].Kill()
	interrupted, resumed := f.south.wait("interrupted"), f.south.wait("resumed")
	f.hear(1000)
	say(t, s, fmt.Sprintf("kill -9 of south's server under load: noticed after %s, on another one after %s",
		ms(interrupted.At.Sub(killed)), ms(resumed.At.Sub(killed))))
	for _, p := range f.processes() {
		r := p.report()
		say(t, s, "... "+p.books(r))
		assert.Zero(t, r.MissedElsewhere+r.Repeated+r.Disordered, "%s: %+v", p.id, r)
	}
	r := f.east.report()
	assert.Zero(t, r.MissedInGap, "east, whose server lives: %+v", r)
	if st := f.Node().Broker().Stats(); st.Lost+st.Uncertain != 0 {
		t.Errorf("north, whose server lives: %+v", st)
	}
	c.Nodes[1].Restart()
	c.WaitWhole(t)

	killed = time.Now()
	c.Nodes[0].Kill()
	f.east.eventually("behind a sender that has noticed", func() bool { return f.Node().Broker().Stats().Interruptions > 0 })
	noticed := time.Since(killed)
	f.hear(1000)
	f.meet()
	question := f.ask(t, questions[0])
	say(t, s, fmt.Sprintf("kill -9 of north's server under load: noticed after %s", ms(noticed)))
	st, sent := f.settle(ctx, t, s, l)
	assert.Zero(t, st.Lost, "lost for certain, with two servers alive: %+v", st)
	for _, p := range f.processes() {
		r := p.report()
		say(t, s, "... "+p.books(r))
		assert.Equal(t, sent, r.Received+r.MissedInGap+r.MissedElsewhere, "%s: the accounting does not balance: sent", p.id)
		assert.LessOrEqual(t, r.MissedElsewhere, int(st.Uncertain), "%s: the accounting does not balance: sent", p.id)
		assert.Zero(t, r.Repeated+r.Disordered, "%s: the accounting does not balance: sent", p.id)
	}
	row(t, s, "... then: "+questions[0].name, question)
	question.complete(t, "after the outage")
}
