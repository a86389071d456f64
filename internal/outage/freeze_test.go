//go:build linux

package outage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// question is one kind of request. ask returns its result in a few words.
type question struct {
	name string
	ask  func(ctx context.Context, ns *backplane.Namespace) (string, error)
	// alone: the request does not depend on east.
	alone bool
}

var questions = []question{
	{"members", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		m, err := ns.Members(ctx, backplane.To("everybody"))
		return fmt.Sprint(len(m.List), " members"), err
	}, false},
	{"members with data", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		m, err := ns.MembersDetail(ctx, backplane.To("everybody"))
		return fmt.Sprint(len(m.List), " members"), err
	}, false},
	{"rooms of a member of east", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		rooms, err := ns.RoomsOf(ctx, "member of east")
		return fmt.Sprint(len(rooms), " rooms"), err
	}, false},
	{"rooms of a member of south", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		rooms, err := ns.RoomsOf(ctx, "member of south")
		return fmt.Sprint(len(rooms), " rooms"), err
	}, true},
	{"all rooms", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		l, err := ns.AllRooms(ctx)
		return fmt.Sprint(len(l.List), " rooms"), err
	}, false},
	{"count", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		n, err := ns.Count(ctx, backplane.All())
		return fmt.Sprint(n.Total, " members"), err
	}, false},
	{"peers", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		p, err := ns.Peers(ctx)
		return fmt.Sprint(len(p.List), " nodes and ", p.Foreign, " others"), err
	}, true},
	{"custom request", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		r, err := ns.Request(ctx, []byte("who?"))
		return fmt.Sprint(len(r.List), " answers"), err
	}, false},
	{"event with acknowledgement", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		r, err := ns.EventAck(ctx, []byte("who?"))
		return fmt.Sprint(len(r.List), " answers"), err
	}, false},
	{"broadcast with acks", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		a, err := ns.BroadcastAck(ctx, []byte("hello"), backplane.To("everybody"), 0)
		return fmt.Sprint(len(a.Values), " acks"), err
	}, false},
	{"join by id", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		return "", ns.Join(ctx, "member of east", "new")
	}, false},
	{"leave by id", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		return "", ns.Leave(ctx, "member of east", "new")
	}, false},
	{"disconnect by id", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		return "", ns.Disconnect(ctx, "member of east", false)
	}, false},
	{"join by id, of south", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		return "", ns.Join(ctx, "member of south", "new")
	}, true},
	{"join by selector", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		r, err := ns.JoinAll(ctx, backplane.To("everybody"), "new")
		return fmt.Sprint(r.Total, " members"), err
	}, false},
	{"leave by selector", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		r, err := ns.LeaveAll(ctx, backplane.To("everybody"), "new")
		return fmt.Sprint(r.Total, " members"), err
	}, false},
	{"disconnect by selector", func(ctx context.Context, ns *backplane.Namespace) (string, error) {
		r, err := ns.DisconnectAll(ctx, backplane.To("everybody"), false)
		return fmt.Sprint(r.Total, " members"), err
	}, false},
}

// outcome is the result of a request.
type outcome struct {
	text     string
	answered []string
	missing  []observe.Missing
	err      error
	took     time.Duration
}

func (f *fleet) ask(t *testing.T, q question) (o outcome) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	o.text, o.err = q.ask(ctx, f.Namespace)
	o.took = time.Since(began)
	if p, ok := errors.AsType[*backplane.PartialError](o.err); ok {
		o.answered, o.missing = p.Coverage.Answered, p.Coverage.Missing
	}
	return o
}

func (o outcome) String() string {
	parts := []string{ms(o.took)}
	if o.text != "" {
		parts = append(parts, o.text)
	}
	switch {
	case len(o.missing) > 0:
		if len(o.answered) > 0 {
			parts = append(parts, "responses of "+strings.Join(o.answered, " and "))
		}
		for _, m := range o.missing {
			parts = append(parts, fmt.Sprintf("missing %s: %v", m.Node, m.Reason))
		}
	case o.err != nil:
		parts = append(parts, o.err.Error())
	default:
		parts = append(parts, "complete")
	}
	return strings.Join(parts, ", ")
}

// missesEast checks that east, and no other node, is missing, for that reason.
func (o outcome) missesEast(t *testing.T, what string, reason error) {
	t.Helper()
	require.Len(t, o.missing, 1, what)
	assert.Equal(t, "east", o.missing[0].Node, what)
	assert.ErrorIs(t, o.missing[0].Reason, reason, what)
}

func (o outcome) complete(t *testing.T, what string) {
	t.Helper()
	assert.NoError(t, o.err, "%s: %v", what, o)
}

// atOnce checks that the request did not wait.
func (o outcome) atOnce(t *testing.T, what string) {
	t.Helper()
	assert.Less(t, o.took, requestTimeout*3/4, what)
}

// row prints the outcome of a request and, if there are any, of its repetitions.
func row(t *testing.T, s system, what string, o outcome, again ...outcome) {
	t.Helper()
	line := fmt.Sprintf("%-52s %s", what, o)
	for _, o := range again {
		line += "; again: " + o.String()
	}
	say(t, s, line)
}

// say prints a line of the table.
func say(t *testing.T, s system, line string) {
	t.Helper()
	line = fmt.Sprintf("%-12s  %s", s.name, line)
	t.Log(line)
	t.Attr("outcome", line) // for the summary of a run
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }

// A node's process is stopped in the middle of a request of each kind, gets the request again, and continues.
func TestNodeStoppedDuringQuestions(t *testing.T) {
	onEach(t, func(t *testing.T, s system) {
		_, url := s.start(t)
		f := startFleet(t, s, url)
		for _, q := range questions {
			when := "during"
			f.hooks.once(f.east.Freeze)
			if q.alone { // no node gets the request, or east's response does not matter
				f.hooks.once(nil)
				f.east.Freeze()
				when = "before"
			}
			o := f.ask(t, q)
			again := f.ask(t, q)
			row(t, s, "SIGSTOP of east "+when+": "+q.name, o, again)
			if q.alone {
				o.complete(t, q.name)
				o.atOnce(t, q.name)
				again.complete(t, q.name)
			} else {
				o.missesEast(t, q.name, backplane.ErrNoResponse)
				if late := o.took - requestTimeout; late < 0 || late > requestTimeout {
					t.Errorf("%s took %v", q.name, o.took)
				}
				again.missesEast(t, q.name+", again", backplane.ErrPeerUnresponsive)
			}
			again.atOnce(t, q.name+", again")
			f.east.Signal(syscall.SIGCONT)
			f.meet()
		}
		all := questions[0]
		f.ask(t, all).complete(t, "all run again")

		// Stopped for longer than PeerTimeout. A system that counts still counts it.
		f.east.Freeze()
		began := time.Now()
		f.east.eventually("forgotten", func() bool { return len(f.Node().KnownPeers()) == 1 })
		noticed := time.Since(began)
		assert.LessOrEqual(t, noticed, peerTimeout+heartbeat+2*time.Second)
		o := f.ask(t, all)
		row(t, s, fmt.Sprintf("SIGSTOP of east, noticed after %v, then: %s", ms(noticed), all.name), o)
		o.atOnce(t, "a request to the remaining nodes")
		if s.counts {
			o.missesEast(t, "stopped for long", backplane.ErrPeerLost)
		} else {
			o.complete(t, "stopped for long")
		}
		f.east.Signal(syscall.SIGCONT)
		f.meet()
		o = f.ask(t, all)
		row(t, s, "SIGCONT of east, then: "+all.name, o)
		o.complete(t, "back again")

		// Killed in the middle of a request.
		f.hooks.once(f.east.kill)
		o = f.ask(t, all)
		again := f.ask(t, all)
		row(t, s, "SIGKILL of east during: "+all.name, o, again)
		if s.counts {
			o.missesEast(t, "killed", backplane.ErrPeerLost)
			o.atOnce(t, "killed")
			again.missesEast(t, "killed, again", backplane.ErrPeerLost)
		} else {
			o.missesEast(t, "killed", backplane.ErrNoResponse)
			again.missesEast(t, "killed, again", backplane.ErrPeerUnresponsive)
		}
		again.atOnce(t, "killed, again")
	})
}
