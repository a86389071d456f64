package interop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/wire"
)

// harmOp is a row of the table: an operation of a Go node with contents.
type harmOp struct {
	name string
	// on are the versions beside which it is played; mixed means beside all at once.
	on    []interop.Generation
	mixed bool
	// contents are the worst contents, and one of every so many others.
	contents func(*harmNames) []content
	every    int
	// perName is how many contents are made for each of the worst names.
	perName int
	// play plays some contents, and returns how many were refused. The error says that a server or
	// client was harmed.
	play func(f *harmFleet, list []content) (refused int, err error)
	// batch is how many contents are played at once.
	batch int
}

// beside reports whether an operation is played beside a version. A server with the sharded adapter has the operations of
// v8, and server-side requests that it ignores. It subscribes to a room after it has joined, and does not wait for that:
// only with static subscriptions a message can follow at once.
func (op *harmOp) beside(g interop.Generation) bool {
	return slices.Contains(op.on, g) || onShards(g) && slices.Contains(op.on, v8) && (op.name != "rooms" || g == interop.ShardedStatic)
}

var harmOps = []harmOp{
	{name: "emit", on: versions, mixed: true, contents: (*harmNames).contents, perName: 3, every: 5, play: emits1(everyClient, toEverybody), batch: 500},
	{name: "emit: names of events", on: versions, mixed: true, contents: (*harmNames).events, perName: 2, play: emits1(everyClient, toEverybody), batch: 300},
	{name: "emit to a room", on: versions, mixed: true, contents: (*harmNames).contents, perName: 3, every: 23, play: emits1(inRed, toTheRed), batch: 500},
	{name: "emit of an Emitter", on: versions, mixed: true, contents: (*harmNames).contents, perName: 3, every: 13, play: playEmitter, batch: 500},
	{name: "emit with header entries", on: versions, mixed: true, contents: (*harmNames).names, perName: 1, play: playHeaders, batch: 100},
	{name: "emit with acknowledgements", on: []interop.Generation{v5, v60, v6, v70, v7, v8}, mixed: true, contents: (*harmNames).contents, perName: 3, every: 13, play: playAsk, batch: 50},
	{name: "acknowledgements", on: from7, contents: (*harmNames).contents, perName: 3, every: 11, play: playAnswers("emitWithAck", true), batch: 100},
	{name: "server-side events", on: versions, mixed: true, contents: (*harmNames).contents, perName: 3, every: 13, play: playEvents, batch: 300},
	{name: "server-side events: names", on: versions, mixed: true, contents: (*harmNames).names, perName: 1, play: playEventNames, batch: 100},
	{name: "replies to server-side events", on: []interop.Generation{v70, v71, v7, v8}, contents: (*harmNames).contents, perName: 3, every: 11, play: playAnswers("serverSideEmitWithAck", false), batch: 100},
	{name: "custom requests", on: versions, mixed: true, contents: (*harmNames).contents, perName: 3, every: 29, play: playCustom, batch: 50},
	{name: "replies to custom requests", on: only5, contents: (*harmNames).contents, perName: 3, every: 11, play: playCustomReplies, batch: 100},
	{name: "descriptions of sockets", on: []interop.Generation{v6, v70, v71, v7, v8}, contents: (*harmNames).contents, perName: 3, every: 11, play: playDescriptions, batch: 40},
	{name: "rooms", on: []interop.Generation{v5, v6, v70, v71, v7, v8}, contents: (*harmNames).names, perName: 1, play: playRooms, batch: 20},
	{name: "ids of sockets", on: versions, mixed: true, contents: (*harmNames).names, perName: 1, play: playIDs, batch: 20},
	{name: "namespaces", on: versions, mixed: true, contents: (*harmNames).namespaces, perName: 1, every: 3, play: playNamespaces, batch: 10},
	{name: "prefixes", on: versions, contents: (*harmNames).prefixes, play: playPrefixes, batch: 1},
}

// names are the names as event names.
func (n *harmNames) names() (list []content) {
	for _, name := range n.all() {
		if name != "" {
			list = append(list, content{event: name})
		}
	}
	return list
}

// namespaces are names to which clients of every version can connect.
func (n *harmNames) namespaces() []content {
	return slices.DeleteFunc(n.names(), func(c content) bool {
		return strings.ContainsAny(c.event, ",?#/*[] ") || strings.ContainsFunc(c.event, func(r rune) bool { return r < ' ' || r > '~' })
	})
}

// prefixes are the names of every object.
func (n *harmNames) prefixes() []content { return n.names()[:n.worst()] }

func everyClient(*harmClient) bool { return true }
func noClient(*harmClient) bool    { return false }
func inRed(c *harmClient) bool     { return !c.old }

func toEverybody(f *harmFleet) adapter.Operator { return f.ns.All() }
func toTheRed(f *harmFleet) adapter.Operator    { return f.ns.To("red", "another") }

// emits1 emits contents, each with its number, and checks which clients got them.
func emits1(match func(*harmClient) bool, to func(*harmFleet) adapter.Operator) func(*harmFleet, []content) (int, error) {
	return func(f *harmFleet, list []content) (int, error) {
		return f.emitAll(list, match, false, func(c content) error { return to(f).Emit(f.ctx, c.event, c.args...) })
	}
}

func (f *harmFleet) emitAll(list []content, match func(*harmClient) bool, emitter bool, emit func(content) error) (refused int, err error) {
	var sent []content
	for _, c := range list {
		f.count++
		c.args = append(slices.Clip(c.args), f.count)
		switch err := emit(c); {
		case err == nil:
			sent = append(sent, c)
		case refusal(err):
			refused++
		default:
			return 0, err
		}
	}
	return refused, f.expect(match, sent)
}

func playEmitter(f *harmFleet, list []content) (int, error) {
	defer func() { _ = f.emitter.Flush(f.ctx) }()
	refused, err := f.emitAll(list, noClient, true, func(c content) error { return nil })
	if err != nil || refused > 0 {
		return 0, errors.Join(err, errors.New("the fleet is not quiet"))
	}
	var sent []content
	for _, c := range list {
		f.count++
		c.args = append(slices.Clip(c.args), f.count)
		switch err := f.emitter.Emit(f.ctx, c.event, c.args...); {
		case err == nil:
			sent = append(sent, c)
		case refusal(err):
			refused++
		default:
			return 0, err
		}
	}
	if err := f.emitter.Flush(f.ctx); err != nil {
		return 0, err
	}
	return refused, f.expect(everyClient, sent)
}

func playHeaders(f *harmFleet, list []content) (int, error) {
	defer f.header.Store(nil)
	entries := map[int]string{} // the key is the number of the event
	named := make([]content, len(list))
	for i, c := range list {
		entries[f.count+1+i], named[i] = c.event, content{event: "event"}
	}
	return f.emitAll(named, everyClient, false, func(c content) error {
		name := entries[c.args[0].(int)]
		f.header.Store(&wire.Header{name: name, "traceparent": name})
		if f.ns.Server().Links()[0].Dialect != adapter.V5 {
			if err := f.ns.ServerSideEmit(f.ctx, "header"); err != nil {
				return err
			}
		}
		return f.ns.Emit(f.ctx, "event", c.args...)
	})
}

// playAsk makes clients acknowledge events. Nothing is sent while a server before 7.1 is connected,
// because it cannot respond.
func playAsk(f *harmFleet, list []content) (refused int, err error) {
	able := !f.mixed && (slices.Contains(from7, f.peers[0].Generation()) || onShards(f.peers[0].Generation()))
	var sent []content
	for _, c := range list {
		f.count++
		c.event, c.args = "ask", append(slices.Clip(c.args), f.count)
		acks, err := f.ns.All().EmitWithAck(f.ctx, c.event, c.args...)
		switch {
		case err != nil && refusal(err):
			refused++
		case err != nil:
			return 0, err
		case !able:
			return 0, fmt.Errorf("%v was sent among servers that crash at it", c)
		case interop.Text(acks.Values) != `["answer","answer"]`:
			return 0, fmt.Errorf("%v was acknowledged with %v", c, acks.Values)
		default:
			sent = append(sent, c)
		}
	}
	return refused, f.expect(everyClient, sent)
}

// hearing are the versions whose servers receive server-side events.
var hearing = []interop.Generation{v70, v71, v7, v8, interop.Sharded, interop.ShardedStatic}

// listenTo makes the servers report events of a name.
func (f *harmFleet) listenTo(event string) error {
	for _, p := range f.peers {
		if slices.Contains(hearing, p.Generation()) {
			if _, err := f.call(p, "listen", args{"event": event, "inbox": "events", "answers": true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// heard checks that the servers that receive events got these events, each once, and then the last
// one.
func (f *harmFleet) heard(sent []content) error {
	f.count++
	end := float64(f.count)
	if err := f.ns.ServerSideEmit(f.ctx, "end", end); errors.Is(err, errors.ErrUnsupported) {
		return f.expect(noClient, nil)
	} else if err != nil {
		return err
	}
	for _, p := range f.peers {
		if !slices.Contains(hearing, p.Generation()) {
			continue
		}
		ctx, cancel := context.WithTimeout(f.ctx, deadline)
		got, err := p.Inbox("events").Until(ctx, func(m interop.Message) bool {
			return m.Event == "end" && interop.Text(m.Args) == interop.Text([]any{end})
		})
		cancel()
		if err := f.healthy(); err != nil {
			return err
		}
		if err != nil || len(got) != len(sent) {
			return fmt.Errorf("%s heard %d events, want %d (%v)", p.Name(), len(got), len(sent), err)
		}
		for i, m := range got {
			want := interop.Message{Event: sent[i].event, Args: atClients(sent[i].args, true)}
			if m.Text() != want.Text() {
				return fmt.Errorf("%s heard %v, want %v", p.Name(), m, want)
			}
		}
	}
	return f.expect(noClient, nil)
}

func playEvents(f *harmFleet, list []content) (int, error) {
	once := func(event string) error {
		if f.listening == nil {
			f.listening = map[string]bool{}
		}
		if f.listening[event] {
			return nil
		}
		f.listening[event] = true
		return f.listenTo(event)
	}
	var sent []content
	refused := 0
	if err := once("end"); err != nil {
		return 0, err
	}
	for _, c := range list {
		// A namespace that listens to these names refuses all further listeners by itself.
		unheard := c.event == "newListener" || c.event == "removeListener"
		if !unheard {
			if err := once(c.event); err != nil {
				return 0, err
			}
		}
		f.count++
		c.args = append(slices.Clip(c.args), f.count)
		switch err := f.ns.ServerSideEmit(f.ctx, c.event, c.args...); {
		case err == nil && unheard:
		case err == nil:
			sent = append(sent, c)
		case refusal(err):
			refused++
		default:
			return 0, err
		}
	}
	return refused, f.heard(sent)
}

// playEventNames is playEvents without listeners for "error", as in most applications. Afterwards
// it makes the servers respond.
func playEventNames(f *harmFleet, list []content) (refused int, err error) {
	rest := slices.DeleteFunc(slices.Clone(list), func(c content) bool { return c.event == "error" })
	if len(rest) < len(list) {
		for _, emit := range []func() error{
			func() error { return f.ns.ServerSideEmit(f.ctx, "error", 1) },
			func() error { _, err := f.ns.ServerSideEmitWithAck(f.ctx, "error", 1); return err },
			func() error { return f.emitter.ServerSideEmit(f.ctx, "error", 1) },
		} {
			if err := emit(); !refusal(err) {
				return 0, fmt.Errorf("a server-side event named error: %v; want a refusal", err)
			}
		}
		refused++
	}
	n, err := playEvents(f, rest)
	if err != nil || f.mixed || !slices.Contains(hearing, f.peers[0].Generation()) {
		return refused + n, err
	}
	for _, c := range rest {
		if !f.listening[c.event] {
			continue
		}
		replies, err := f.ns.ServerSideEmitWithAck(f.ctx, c.event, c.event)
		if refusal(err) {
			continue
		}
		// 7.0 cannot be counted: its response is used if it arrives before those of the others are
		// complete.
		if err != nil || len(replies.List) != 2 && f.peers[0].Generation() != v70 {
			return 0, fmt.Errorf("%v was answered with %v, %v", c, replies, err)
		}
		if _, err := f.peers[0].Inbox("events").Next(f.ctx); err != nil {
			return 0, err
		}
	}
	return refused + n, f.heard(nil)
}
