package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
)

// playAnswers makes the Node.js server send requests, to which the Go node responds with the
// contents.
func playAnswers(op string, binary bool) func(*harmFleet, []content) (int, error) {
	return func(f *harmFleet, list []content) (refused int, err error) {
		value := func(i int) any {
			if len(list[i].args) == 0 {
				return nil
			}
			return list[i].args[len(list[i].args)-1]
		}
		answer := &answering{id: fmt.Sprint("answering-", harmFleets.Add(1)), value: value}
		if err := f.there.Add(f.ctx, answer); err != nil {
			return 0, err
		}
		defer f.there.Remove(answer.id)
		event := "give-" + answer.id
		stop, err := f.there.OnServerSideEmit(event, func(_ context.Context, e *adapter.ServerEvent) {
			var i int
			if err := adapter.BindArgs(e.Args, &i); err != nil {
				f.report(err)
			} else if err := e.Ack(value(i)); err != nil {
				f.report(err)
				_ = e.Ack()
			}
		})
		if err != nil {
			return 0, err
		}
		defer stop()
		asked := args{"event": event, "timeout": 20_000}
		if binary {
			asked["to"] = []any{answer.id}
		}
		f.reports(0)
		var mu sync.Mutex
		var failed error
		empty := 0
		var all sync.WaitGroup
		places := make(chan struct{}, 8)
		for i := range list {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				got, err := f.call(f.peers[0], op, with(asked, args{"args": []any{i}}))
				// The sharded adapter's messages are JSON, unless they have binary data.
				want := atServers(value(i), binary && (!onShards(f.peers[0].Generation()) || hasBytes(decoded([]any{value(i)}))))
				replies, _ := got.([]any)
				if !binary { // the requester has no such listener and responds without a value
					replies = slices.DeleteFunc(replies, func(v any) bool { return v == interop.Undefined{} || v == nil })
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					failed = fmt.Errorf("%s about %v: %w", op, list[i], err)
				case len(replies) == 0 || len(replies) == 1 && (replies[0] == nil || replies[0] == interop.Undefined{}):
					if want != nil {
						empty++
					}
				case len(replies) != 1 || interop.Text(replies[0]) != interop.Text(want):
					failed = fmt.Errorf("%s about %v: got %.500s, want %.500s", op, list[i], interop.Text(replies), interop.Text(want))
				}
			})
		}
		all.Wait()
		refused = len(f.reports(empty))
		if failed == nil && empty > refused {
			failed = fmt.Errorf("%s: %d answers have no value, %d are reported", op, empty, refused)
		}
		return refused, failed
	}
}

// atServers returns a value as the application of a Node.js requester receives it.
func atServers(v any, binary bool) any {
	if !binary {
		return atClients([]any{v}, true)[0]
	}
	return decoded([]any{v})[0]
}

// answering is a socket whose client acknowledges events with values.
type answering struct {
	id    string
	value func(i int) any
}

func (s *answering) ID() string              { return s.id }
func (s *answering) Deliver(*adapter.Packet) {}
func (s *answering) Disconnect(bool)         {}
func (s *answering) DeliverWithAck(p *adapter.Packet, ack func(...any)) {
	var i int
	if p.Bind(&i) == nil {
		ack(s.value(i))
	}
}

func playCustom(f *harmFleet, list []content) (refused int, err error) {
	want := 2
	if !f.mixed && f.peers[0].Generation() == v5 {
		want = 3
	}
	for _, c := range list {
		var data any
		if len(c.args) > 0 {
			data = c.args[len(c.args)-1]
		}
		replies, err := f.ns.CustomRequest(f.ctx, data)
		if refusal(err) {
			refused++
			continue
		}
		if err != nil || len(replies.List) != want {
			return 0, fmt.Errorf("%v was answered with %v, %v", c, replies, err)
		}
		for _, r := range replies.List {
			if r.Node != "" {
				continue
			}
			asked, err := plainJSON(data, "null")
			got, err2 := interop.Parse(r.Data)
			if err := errors.Join(err, err2); err != nil {
				return 0, err
			}
			// JSON.stringify writes -0 as 0.
			want := mapped(args{"node": "v5", "asked": asked}, func(v any) any {
				if v == 0.0 {
					return 0
				}
				return v
			})
			if interop.Text(got) != interop.Text(want) {
				return 0, fmt.Errorf("%v came back as %.500s", c, interop.Text(got))
			}
		}
	}
	return refused, f.expect(noClient, nil)
}

func playCustomReplies(f *harmFleet, list []content) (refused int, err error) {
	f.there.OnCustomRequest(func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
		var i int
		if err := json.Unmarshal(data, &i); err != nil {
			return nil, err
		}
		return list[i].args, nil
	})
	defer f.there.OnCustomRequest(nil)
	f.reports(0)
	for i, c := range list {
		got, err := f.call(f.peers[0], "customRequest", args{"data": i})
		replies, _ := got.([]any)
		if err != nil || len(replies) != 3 {
			return 0, fmt.Errorf("%v was answered with %v, %v", c, got, err)
		}
		want, unfit := plainJSON(c.args, infinite)
		switch {
		case unfit == nil && slices.ContainsFunc(replies, func(v any) bool { return interop.Text(v) == interop.Text(want) }):
		case slices.Contains(replies, nil) && len(f.reports(1)) > 0:
			refused++
		default:
			return 0, fmt.Errorf("%v was answered with %.500s", c, interop.Text(got))
		}
	}
	return refused, nil
}

// playDescriptions gives sockets the contents as their data, and makes the Node.js server list the
// sockets.
func playDescriptions(f *harmFleet, list []content) (refused int, err error) {
	f.reports(0)
	sockets := map[string]*described{}
	for i, c := range list {
		s := &described{goSocket: goSocket{id: fmt.Sprint("described-", i)}, says: adapter.Description{Data: args{"args": c.args}}}
		if len(c.args) > 0 {
			last := c.args[len(c.args)-1]
			s.says.Handshake = &adapter.Handshake{Auth: last, Headers: map[string]any{"x": last}, Query: map[string]any{"y": last}}
		}
		sockets[s.id] = s
		if err := errors.Join(f.there.Add(f.ctx, s), f.there.Join(f.ctx, s.id, "described")); err != nil {
			return 0, err
		}
		defer f.there.Remove(s.id)
	}
	got, err := f.call(f.peers[0], "fetchSockets", args{"to": []any{"described"}})
	found, _ := got.([]any)
	if err != nil || len(found) != len(list) {
		return 0, fmt.Errorf("%d of %d sockets are listed: %w", len(found), len(list), err)
	}
	for _, v := range found {
		v := v.(map[string]any)
		says := sockets[v["id"].(string)].says
		want, unfit := plainJSON(says.Data, infinite)
		if unfit != nil || interop.Text(v["data"]) == "{}" { // nested too deeply, or not UTF-8
			refused++
			continue
		}
		if interop.Text(v["data"]) != interop.Text(want) {
			return 0, fmt.Errorf("%v is listed with %.500s", says.Data, interop.Text(v["data"]))
		}
		if says.Handshake == nil {
			continue
		}
		auth, unfit := plainJSON(says.Handshake.Auth, infinite)
		if unfit == nil && interop.Text(v["handshake"].(map[string]any)["auth"]) != interop.Text(auth) {
			return 0, fmt.Errorf("%v is listed with %.500s", says.Handshake, interop.Text(v["handshake"]))
		}
	}
	if reported := len(f.reports(refused)); refused > reported {
		return 0, fmt.Errorf("%d descriptions are missing, %d are reported", refused, reported)
	}
	return refused, nil
}

type described struct {
	goSocket
	says adapter.Description
}

func (s *described) Describe() adapter.Description { return s.says }
func (s *described) Disconnect(bool)               {}
