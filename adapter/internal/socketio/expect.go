package socketio

import (
	"github.com/crossroom/crossroom/internal/wire"
)

// Expect implements wire.ForeignPeers: which Node.js servers respond to a request [PROTOCOL
// 5, 6, 7]. It refuses requests that harm servers of another generation [PROTOCOL 12].
//
// Operations by id do no harm because the core locates the socket first. It sends them only
// for a socket in a response to OpMembers, and only servers of the request's generation
// respond to that [PROTOCOL 12, rules 3 and 4].
func (c *Codec) Expect(ns string, r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if r.NoReply || p.Total <= 0 {
		return wire.Expected{}, nil
	}
	if c.sharded() {
		return expectSharded(r, p), nil
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
		return newer, nil // sent as fetchSockets
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
				Reason: "servers older than 7.1 crash on the responses of newer servers to a broadcast with acknowledgements",
			}
		}
		return wire.Expected{Answers: p.Total}, nil
	}
	return silent, nil
}

// counted returns how many of the foreign peers p are old and how many are deaf. It returns
// zeros unless that is known for exactly these peers.
func (c *Codec) counted(p wire.Unannounced) (old, deaf int) {
	if u := c.unlike.Load(); u != nil && u.Unannounced == p {
		return u.Old, u.Deaf
	}
	return 0, 0
}

// expectCustom returns what to expect after a custom request. All servers of v5 respond to
// that of V5, and processes from 6.1 on crash when they read it. Only Crossroom nodes know
// that of V6.
func (c *Codec) expectCustom(r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	if c.opts.Dialect == V6 {
		return wire.Expected{Silent: p.Total}, nil
	}
	if p.Responding > 0 {
		return wire.Expected{}, &MixedError{
			Op: r.Op, Total: p.Total, Responding: p.Responding,
			Reason: "newer servers crash on a custom request of v5",
		}
	}
	if int64(p.Total) != c.only5.Load() {
		return wire.Expected{}, &MixedError{
			Op: r.Op, Total: p.Total, Responding: p.Responding,
			Reason: "the servers changed since all of them were found to be v5",
		}
	}
	return wire.Expected{Answers: p.Total}, nil
}

// expectEvent returns what to expect after a server-side emit. Servers from 7.0 on may
// respond, older ones ignore it. Servers of 7.0 cannot be counted: their responses are
// accepted while the request waits for others.
func expectEvent(p wire.Unannounced) wire.Expected {
	if p.Responding < 0 {
		return wire.Expected{Answers: p.Total}
	}
	n := min(p.Responding, p.Total)
	return wire.Expected{Answers: n, Silent: p.Total - n}
}
