package adapter

import (
	"fmt"

	"github.com/crossroom/crossroom/internal/wire"
)

// MixedFleetError says that a request was not sent because servers of another
// generation share the prefix and namespace and would be harmed by it. Give each
// generation a prefix of its own.
type MixedFleetError struct {
	Op wire.Op
	// Total is how many servers are there besides Crossroom nodes, and Responding
	// how many of them listen for answers of their own, as servers from 7.1 on do;
	// -1 if that was not looked at.
	Total, Responding int
	Reason            string
}

func (e *MixedFleetError) Error() string {
	if e.Responding < 0 {
		return fmt.Sprintf("adapter: %s refused among %d servers: %s", e.Op, e.Total, e.Reason)
	}
	return fmt.Sprintf("adapter: %s refused among %d servers, %d of them of 7.1 or later: %s", e.Op, e.Total, e.Responding, e.Reason)
}

// Expect implements wire.Codec: what Node.js servers do with a request [PROTOCOL
// 5, 6, 7], and what those of another generation suffer [PROTOCOL 12].
//
// Operations by id do no harm because the core locates the socket before it sends
// one: they are sent only for a socket that is in an answer to OpMembers, which only
// servers of the asked generation give [PROTOCOL 12, rules 3 and 4].
func (c *codec) Expect(ns string, r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if r.NoReply || p.Total <= 0 {
		return wire.Expected{}, nil
	}
	old, deaf := c.unlike(p)
	all := wire.Expected{Answers: p.Total - deaf, Silent: deaf}
	newer := wire.Expected{Answers: p.Total - old, Silent: old}
	silent := wire.Expected{Silent: p.Total}
	owner := wire.Expected{Answers: 1, FirstOnly: true}
	switch r.Op {
	case wire.OpRooms:
		return all, nil
	case wire.OpMembers:
		if r.Detail || len(r.Except) > 0 {
			return newer, nil
		}
		return all, nil
	case wire.OpRoomsOf:
		if c.dialect == V5 {
			return owner, nil
		}
		return newer, nil // asked as fetchSockets
	case wire.OpJoin, wire.OpLeave, wire.OpDisconnect:
		if r.ByID {
			return owner, nil
		}
		return silent, nil
	case wire.OpCustom:
		return c.expectCustom(r, p)
	case wire.OpEvent:
		return expectEvent(p), nil
	case wire.OpBroadcast:
		if p.Responding >= 0 && p.Responding < p.Total {
			return wire.Expected{}, &MixedFleetError{
				Op: r.Op, Total: p.Total, Responding: p.Responding,
				Reason: "the answers of newer servers to a broadcast with acknowledgements end those before 7.1",
			}
		}
		return wire.Expected{Answers: p.Total}, nil
	}
	return silent, nil
}

// unlike returns how many of the foreign peers are old and how many are deaf: none unless
// that is known of exactly these.
func (c *codec) unlike(p wire.Unannounced) (old, deaf int) {
	if k := c.foreign.Load(); k != nil && k.err == nil && k.Unannounced == p {
		return k.old, k.deaf
	}
	return 0, 0
}

// expectCustom: v5 servers all answer; from 6.1 on processes end when they read what
// v5 asks. V8's own form is for Crossroom nodes only.
func (c *codec) expectCustom(r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if c.dialect == V8 {
		return wire.Expected{Silent: p.Total}, nil
	}
	if p.Responding > 0 {
		return wire.Expected{}, &MixedFleetError{
			Op: r.Op, Total: p.Total, Responding: p.Responding,
			Reason: "a custom request of v5 ends newer servers",
		}
	}
	if int64(p.Total) != c.only5.Load() {
		return wire.Expected{}, &MixedFleetError{
			Op: r.Op, Total: p.Total, Responding: p.Responding,
			Reason: "not the servers that were found to be v5",
		}
	}
	return wire.Expected{Answers: p.Total}, nil
}

// expectEvent: servers from 7.0 on may answer, those before ignore it. 7.0 itself
// cannot be counted; its answers are taken if they come while others are waited for.
func expectEvent(p wire.Unannounced) wire.Expected {
	if p.Responding < 0 {
		return wire.Expected{Answers: p.Total}
	}
	n := min(p.Responding, p.Total)
	return wire.Expected{Answers: n, Silent: p.Total - n}
}
