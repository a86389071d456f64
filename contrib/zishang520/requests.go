package zishang520

import (
	"encoding/json"

	"github.com/crossroom/crossroom/adapter"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// FetchSockets implements socket.Adapter. Unless the sockets are local ones, the callback is
// called by a goroutine of its own. With an error it also gets the sockets of the servers that responded.
func (a *namespace) FetchSockets(opts *socket.BroadcastOptions) func(func([]socket.SocketDetails, error)) {
	ns := a.remote(opts)
	if ns == nil {
		return a.Adapter.FetchSockets(opts)
	}
	return func(callback func([]socket.SocketDetails, error)) {
		a.order.do(func() { // after earlier operations; no caller waits for it
			a.fleet.run(func() {
				var all []socket.SocketDetails
				a.Adapter.FetchSockets(opts)(func(own []socket.SocketDetails, _ error) { all = own })
				list, err := target(ns, opts).FetchSockets(a.fleet.ctx)
				if list != nil {
					for _, s := range list.List {
						all = append(all, newDetails(s))
					}
				}
				callback(all, err)
			})
		}, true)
	}
}

// details are another server's description of a socket.
type details struct {
	id        socket.SocketId
	handshake *socket.Handshake
	rooms     *types.Set[socket.Room]
	data      any
}

func newDetails(s adapter.RemoteSocket) *details {
	d := &details{id: socket.SocketId(s.ID), handshake: &socket.Handshake{}, rooms: types.NewSet[socket.Room]()}
	for _, room := range s.Rooms {
		d.rooms.Add(socket.Room(room))
	}
	var h adapter.Handshake
	if json.Unmarshal(s.Handshake, &h) == nil {
		auth, _ := h.Auth.(map[string]any)
		d.handshake = &socket.Handshake{
			Headers: h.Headers, Time: h.Time, Address: h.Address, Xdomain: h.XDomain, Secure: h.Secure,
			Issued: h.Issued, Url: h.URL, Query: h.Query, Auth: auth,
		}
	}
	_ = json.Unmarshal(s.Data, &d.data) // nil if there is no data
	return d
}

func (d *details) Id() socket.SocketId            { return d.id }
func (d *details) Handshake() *socket.Handshake   { return d.handshake }
func (d *details) Rooms() *types.Set[socket.Room] { return d.rooms }
func (d *details) Data() any                      { return d.data }

// ServerSideEmit implements socket.Adapter. A callback is called by a goroutine of its own,
// with one value of each server that responded.
func (a *namespace) ServerSideEmit(packet []any) error {
	ns := a.remote(nil)
	if ns == nil {
		return a.errNotOpen()
	}
	event, _ := packet[0].(string)
	args := packet[1:]
	var ack socket.Ack
	if n := len(args); n > 0 {
		if f, ok := args[n-1].(socket.Ack); ok {
			ack, args = f, args[:n-1]
		}
	}
	args, err := outgoing(args, true)
	if err != nil {
		return err
	}
	if ack == nil {
		if !a.order.do(func() { err = ns.ServerSideEmit(a.fleet.ctx, event, args...) }, false) {
			return nil
		}
		return err
	}
	a.order.do(func() {
		a.fleet.run(func() {
			replies, err := ns.ServerSideEmitWithAck(a.fleet.ctx, event, args...)
			values := []any{}
			if replies != nil {
				for _, r := range replies.List {
					var v any
					if r.Data != nil {
						_ = json.Unmarshal(r.Data, &v) // cannot fail: it is JSON
					}
					values = append(values, v)
				}
			}
			ack(values, err)
		})
	}, true)
	return nil
}
