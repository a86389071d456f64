package natsbroker_test

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestUserRemoved: the server closes the connections of a removed user without a reason,
// and Interrupted has the reason of the next refusal.
func TestUserRemoved(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	opts := quick()
	opts.BackoffMin = patience // the reason may come late on a busy machine
	b, from := g.open("node", opts), g.open("all", quick())
	r, other := record(t), record(t)
	subscribe(t, b, r, broker.Exactly(room))
	subscribe(t, b, other, broker.Native.EveryRoom("/ns"), broker.Exactly(broker.Control()))
	for range 2 {
		g.configure(`authorization { users: [ { user: all, password: pw } ] }`)
		for _, r := range []*recorder{r, other} {
			call := r.WantCall("interrupted")
			assert.ErrorIs(t, call.Err, nats.ErrAuthorization)
		}
		g.configure(rights(everything))
		r.WantCall("resumed")
		other.WantCall("resumed")
		publish(t, from, room, "after")
		r.Want(room, "after")
		other.WantNothing()
	}
}

// TestClosedWithoutReason: a connection is closed without a reason, and the next attempt
// gives none. Receivers get Interrupted with the error of the first connection, before Resumed.
func TestClosedWithoutReason(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	for name, end := range map[string]func(*tcpproxy.Proxy){
		"the next attempt succeeds":   (*tcpproxy.Proxy).Cut,
		"the next attempts fail":      (*tcpproxy.Proxy).Cut,
		"the next attempt is pending": func(p *tcpproxy.Proxy) { p.HalfOpen(); p.Disconnect() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link := tcpproxy.Start(t, srv.Addr())
			b := open(t, link.Addr(), quick())
			r := record(t)
			subscribe(t, b, r, broker.Exactly(room))
			end(link)
			if call := r.WantCall("interrupted"); !errors.Is(call.Err, io.EOF) && !errors.Is(call.Err, syscall.ECONNRESET) {
				t.Errorf("Interrupted(%v), want the error of the connection", call.Err)
			}
			link.Heal()
			r.WantCall("resumed")
			publish(t, open(t, srv.Addr(), quick()), room, "after")
			r.Want(room, "after")
		})
	}
}
