package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// target makes the operator for to, except, from, flags and timeout.
func target(nsp socket.Namespace, a args) *socket.BroadcastOperator {
	o := nsp.To()
	if from, ok := a["from"].(string); ok {
		s, err := client(nsp, from)
		if err != nil {
			panic(err)
		}
		o = s.Broadcast()
	}
	o = o.To(texts(a["to"])...).Except(texts(a["except"])...)
	for _, flag := range texts(a["flags"]) {
		switch flag {
		case "volatile":
			o = o.Volatile()
		case "nocompress":
			o = o.Compress(false)
		case "local":
			o = o.Local()
		}
	}
	if ms, ok := a["timeout"].(float64); ok {
		o = o.Timeout(time.Duration(ms) * time.Millisecond)
	}
	return o
}

// values returns an event's arguments, with binary in a type of the server.
func values(a args) []any {
	list, _ := own(a["args"]).([]any)
	return list
}

func own(v any) any {
	switch v := v.(type) {
	case []byte:
		return types.NewBytesBuffer(v)
	case time.Time:
		return v.UTC()
	case []any:
		for i := range v {
			v[i] = own(v[i])
		}
	case args:
		for k := range v {
			v[k] = own(v[k])
		}
	}
	return v
}

// result is the result that a callback gets.
type result struct {
	values []any
	err    error
}

func (r result) get() (any, error) { return r.values, r.err }

// settle waits until earlier operations on other servers have been carried out.
func settle(nsp socket.Namespace) {
	done := make(chan struct{})
	nsp.In("an empty room").FetchSockets()(func([]*socket.RemoteSocket, error) { close(done) })
	<-done
}

var operations = map[string]func(ctx context.Context, p *peer, nsp socket.Namespace, a args) (any, error){
	"url": func(_ context.Context, p *peer, _ socket.Namespace, _ args) (any, error) { return p.url, nil },
	"namespace": func(ctx context.Context, p *peer, nsp socket.Namespace, _ args) (any, error) {
		if err := p.fleet.Ready(ctx); err != nil {
			return nil, err
		}
		ns, err := p.fleet.Server().Of(ctx, nsp.Name())
		if err == nil {
			ns.OnCustomRequest(func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
				return args{"node": p.name, "asked": data}, nil
			})
		}
		return nil, err
	},
	// enter handles a connected client, as a server's application does.
	"enter": func(_ context.Context, p *peer, nsp socket.Namespace, a args) (any, error) {
		s, err := client(nsp, a["id"])
		if err == nil {
			s.SetData(a["data"])
			s.Join(texts(a["rooms"])...)
		}
		return nil, err
	},
	"rooms": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		s, err := client(nsp, a["id"])
		if err != nil {
			return nil, err
		}
		return list(s.Rooms().Keys()), nil
	},
	"transport": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		s, err := client(nsp, a["id"])
		if err != nil {
			return nil, err
		}
		return s.Conn().Transport().Name(), nil
	},
	"emit": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		return nil, target(nsp, a).Emit(a["event"].(string), values(a)...)
	},
	"emitWithAck": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		done := make(chan result, 1)
		target(nsp, a).EmitWithAck(a["event"].(string), values(a)...)(func(values []any, err error) { done <- result{values, err} })
		return (<-done).get()
	},
	"serverCount": func(_ context.Context, _ *peer, nsp socket.Namespace, _ args) (any, error) {
		return nsp.Adapter().ServerCount(), nil
	},
	"fetchSockets": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		done := make(chan result, 1)
		target(nsp, a).FetchSockets()(func(sockets []*socket.RemoteSocket, err error) {
			r := result{err: err}
			for _, s := range sockets {
				r.values = append(r.values, args{"id": string(s.Id()), "rooms": list(s.Rooms().Keys()), "data": raw(s.Data()), "handshake": raw(s.Handshake())})
			}
			done <- r
		})
		return (<-done).get()
	},
	"socketsJoin": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		target(nsp, a).SocketsJoin(texts(a["rooms"])...)
		settle(nsp)
		return nil, nil
	},
	"socketsLeave": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		target(nsp, a).SocketsLeave(texts(a["rooms"])...)
		settle(nsp)
		return nil, nil
	},
	"disconnectSockets": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		target(nsp, a).DisconnectSockets(a["close"].(bool))
		return nil, nil
	},
	"remoteJoin": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		nsp.In(socket.Room(a["id"].(string))).SocketsJoin(socket.Room(a["room"].(string)))
		settle(nsp)
		return nil, nil
	},
	"remoteLeave": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		nsp.In(socket.Room(a["id"].(string))).SocketsLeave(socket.Room(a["room"].(string)))
		settle(nsp)
		return nil, nil
	},
	"remoteDisconnect": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		nsp.In(socket.Room(a["id"].(string))).DisconnectSockets(a["close"].(bool))
		return nil, nil
	},
	"listen": func(_ context.Context, p *peer, nsp socket.Namespace, a args) (any, error) {
		return nil, nsp.On(a["event"].(string), func(got ...any) {
			var done socket.Ack
			if n := len(got); n > 0 {
				if f, ok := got[n-1].(socket.Ack); ok {
					done, got = f, got[:n-1]
				}
			}
			p.report(args{"kind": "event", "inbox": a["inbox"], "event": a["event"], "args": got})
			if done != nil && a["answers"] == true {
				done([]any{args{"node": p.name, "got": got}}, nil)
			}
		})
	},
	"serverSideEmit": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		return nil, nsp.ServerSideEmit(a["event"].(string), values(a)...)
	},
	"serverSideEmitWithAck": func(_ context.Context, _ *peer, nsp socket.Namespace, a args) (any, error) {
		done := make(chan result, 1)
		err := nsp.ServerSideEmitWithAck(a["event"].(string), values(a)...)(func(values []any, err error) { done <- result{values, err} })
		if err != nil {
			return nil, err
		}
		return (<-done).get()
	},

	// Operations that the server's API lacks.
	"allRooms": func(ctx context.Context, p *peer, nsp socket.Namespace, _ args) (any, error) {
		ns, err := p.fleet.Server().Of(ctx, nsp.Name())
		if err != nil {
			return nil, err
		}
		rooms, err := ns.AllRooms(ctx)
		if err != nil {
			return nil, err
		}
		return list(rooms.List), nil
	},
	"clients": func(ctx context.Context, p *peer, nsp socket.Namespace, a args) (any, error) {
		return p.clients(ctx, nsp, a["rooms"])
	},
	"allSockets": func(ctx context.Context, p *peer, nsp socket.Namespace, a args) (any, error) {
		return p.clients(ctx, nsp, a["to"])
	},
	"clientRooms": func(ctx context.Context, p *peer, nsp socket.Namespace, a args) (any, error) {
		ns, err := p.fleet.Server().Of(ctx, nsp.Name())
		if err != nil {
			return nil, err
		}
		rooms, err := ns.ClientRooms(ctx, a["id"].(string))
		return list(rooms), err
	},
	"customRequest": func(ctx context.Context, p *peer, nsp socket.Namespace, a args) (any, error) {
		ns, err := p.fleet.Server().Of(ctx, nsp.Name())
		if err != nil {
			return nil, err
		}
		replies, err := ns.CustomRequest(ctx, a["data"])
		if err != nil {
			return nil, err
		}
		out := []any{}
		for _, r := range replies.List {
			var v any = interop.Undefined{}
			if r.Data != nil {
				v = raw(r.Data)
			}
			out = append(out, v)
		}
		return out, nil
	},
}

func (p *peer) clients(ctx context.Context, nsp socket.Namespace, rooms any) (any, error) {
	ns, err := p.fleet.Server().Of(ctx, nsp.Name())
	if err != nil {
		return nil, err
	}
	all := ns.All()
	if in := words(texts(rooms)); len(in) > 0 {
		all = all.To(in...)
	}
	c, err := all.Clients(ctx)
	if err != nil {
		return nil, err
	}
	return list(c.IDs), nil
}
