package socketio

import (
	"github.com/crossroom/crossroom/internal/wire"
)

// Expect implements wire.ForeignPeers: what Node.js servers do with a request [PROTOCOL
// 5, 6, 7], and what those of another generation suffer [PROTOCOL 12].
//
// Operations by id do no harm because the core locates the socket before it sends
// one: they are sent only for a socket that is in an answer to OpMembers, which only
// servers of the asked generation give [PROTOCOL 12, rules 3 and 4].
func (c *Codec) Expect(ns string, r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if r.NoReply || p.Total <= 0 {
		return wire.Expected{}, nil
	}
	old, deaf := c.counted(p)
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
		if c.opts.Dialect == V5 {
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
			return wire.Expected{}, &MixedError{
				Op: r.Op, Total: p.Total, Responding: p.Responding,
				Reason: "the answers of newer servers to a broadcast with acknowledgements end those before 7.1",
			}
		}
		return wire.Expected{Answers: p.Total}, nil
	}
	return silent, nil
}

// counted returns how many of the foreign peers are old and how many are deaf: none unless
// that is known of exactly these.
func (c *Codec) counted(p wire.Unannounced) (old, deaf int) {
	if u := c.unlike.Load(); u != nil && u.Unannounced == p {
		return u.Old, u.Deaf
	}
	return 0, 0
}

// expectCustom: v5 servers all answer; from 6.1 on processes end when they read what
// v5 asks. V6's own form is for Crossroom nodes only.
func (c *Codec) expectCustom(r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if c.opts.Dialect == V6 {
		return wire.Expected{Silent: p.Total}, nil
	}
	if p.Responding > 0 {
		return wire.Expected{}, &MixedError{
			Op: r.Op, Total: p.Total, Responding: p.Responding,
			Reason: "a custom request of v5 ends newer servers",
		}
	}
	if int64(p.Total) != c.only5.Load() {
		return wire.Expected{}, &MixedError{
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
