package adapter

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// DefaultRequestsTimeout is the default of Options.RequestsTimeout.
const DefaultRequestsTimeout = time.Second

// Options of a Server. Nil means all defaults. New copies them.
type Options struct {
	// Dialect of this node's requests: the generation of the Node.js servers on this prefix. A node understands all
	// dialects, whatever this is. Zero means V6, or Sharded on a broker with sharded pub/sub, where only the sharded
	// dialects are possible.
	Dialect Dialect

	// RequestsTimeout limits how long a request to the fleet waits for responses, and an emit with acknowledgement for
	// its clients, unless the context ends earlier. Zero or negative means DefaultRequestsTimeout.
	RequestsTimeout time.Duration

	// OnError gets each error that no call returns: section "Errors" of the package documentation lists them. Calls
	// come one at a time on one goroutine. The first four errors of a cause come at once, and those that follow as one
	// in a second, with their number. Errors beyond 256 waiting ones are dropped and counted in Stats.Unreported. Close
	// waits for a running call and for the queue until its context ends: to close the server in OnError, do it on
	// another goroutine.
	OnError func(error)

	// Logger logs the errors that OnError gets: a panic of a callback at level error with its stack, others as
	// warnings, and an outage in two lines, as package backplane does. Nil means slog.Default(), or no log if OnError is
	// set. For silence set slog.New(slog.DiscardHandler).
	Logger *slog.Logger

	// Keys, if not nil, sign all that the server sends on all of its links, and verify all that it receives. Node.js
	// servers read signed messages, and cannot sign. Unsigned are the operations that are accepted from them; the zero
	// value is none. If Node.js servers are in the fleet, include backplane.Responses: otherwise the server refuses
	// their responses, and lists of sockets are partial. UnsignedNodes accepts unsigned messages of Crossroom nodes
	// too, while a fleet begins to sign. See package backplane, section "Signing".
	Keys          *backplane.Keyring
	Unsigned      backplane.Operations
	UnsignedNodes bool

	// Observers are called for the server's operations, in this order: for tracing, metrics, tests. See package
	// observe.
	Observers []observe.Observer

	// Name is the readable part of the server's uid: letters, digits, '.', '-' and '_', at most 64 bytes. Empty means
	// the name of the host, in which a '-' replaces each other character.
	Name string

	// CustomHook serves the custom requests of other nodes, and this node's own, in namespaces without a hook of their
	// own (Namespace.OnCustomRequest). Nil means that the response is null, like with socket.io-redis.
	CustomHook CustomHook

	// OnBroadcast, if not nil, is called for each broadcast of another server, also if it selects no local socket, in
	// order and before sockets get it. If it returns false, they do not get it. It is for servers that store messages,
	// for example for clients that reconnect. It must not block: it runs on the goroutine that handles all messages of
	// the namespace, without a limit of time. With several links each has such a goroutine: calls may come at the same
	// time. rooms and except are valid during the call; the packet may be kept. With OnBroadcast the server reads every
	// broadcast, also for rooms without local sockets.
	OnBroadcast func(p *Packet, rooms, except []string) bool

	// Refuse, if not nil, returns the operations of other servers that a namespace does not carry out. It is called once
	// for each link when the namespace is opened, for several at the same time. See package backplane, section
	// "Operations of other nodes". A Node.js server that gets no response times out.
	Refuse func(namespace string) backplane.Operations

	// OnOperation, if not nil, is called for each operation of another server that Refuse does not name, before it is
	// carried out: one at a time for each namespace and link. It must not block, or call the namespace. An error
	// refuses the operation, and its text goes to a server that is a Crossroom node; a panic refuses it too.
	OnOperation func(op *backplane.Operation) error

	// Redact changes the handshake of a socket before it is listed, to this server or any other, Go or Node.js: a copy
	// of that in the Description. It may set fields, and replace maps and slices, but not change these. It is called
	// like Describe. Nil means RedactCredentials. A function that does nothing sends all handshakes whole.
	Redact func(h *Handshake)

	// Heartbeat is the interval at which Go nodes announce themselves to each other. Zero means 1 s. PeerTimeout is
	// the time after the last message of a Go node at which it is reported as lost. Zero means 3.5 × Heartbeat. A
	// negative value of these two is an error. StallTimeout limits a call of a socket's method for another server's
	// message: then the server continues without the socket. Zero means two fifths of RequestsTimeout, but at least
	// 50 ms and at most 1 s. Negative means no limit.
	Heartbeat, PeerTimeout, StallTimeout time.Duration

	// MaxAttachments limits the binary values of an event where Node.js servers are possible; more are a *HarmError.
	// Clients disconnect above their own option of that name, and a Node.js process with a client of socket.io 2
	// crashes. Zero means 10, the default of clients. Negative means no limit, for clients older than that option.
	MaxAttachments int

	// Subscription says which broadcasts the server receives, in each of its namespaces: see package backplane, section
	// "Subscriptions". Subscriptions to rooms receive broadcasts of Node.js servers and emitters to one room or one
	// socket too. With Links or OnBroadcast the server receives all broadcasts, and backplane.DynamicSubscription is
	// an error.
	Subscription backplane.SubscriptionMode

	// IsID, if not nil, reports names that have the form of sockets' ids. No socket may then enter such a room, except
	// that of its own id, so that it gets nothing that is sent to another socket's id: see that option of
	// backplane.NamespaceOptions. Set it where clients choose names of rooms. A Node.js server has no such rule for its
	// own sockets.
	IsID func(name string) bool

	// Links are further prefixes of this server, with the same namespaces, sockets and rooms: see "Two generations" in
	// the package documentation.
	Links []Link

	// Bridge, if not nil, forwards broadcasts of nodes that are on one link only to the other links. All Go nodes with
	// several links must have the same setting.
	Bridge *Bridge
}

// Link is one more broker of a Server with a prefix of its own, and the generation of the Node.js servers there.
type Link struct {
	Broker  broker.Broker
	Dialect Dialect
}

// CustomHook serves a custom request. data is the requester's data, null if it sent none; the result is encoded as
// JSON. A hook runs on a goroutine of its own, several at a time. ctx ends after Options.RequestsTimeout, when the
// server closes, or when the requester, if it is this node, stops waiting. An error or a panic is reported to
// Options.OnError. A Go node gets the error, a Node.js server gets null.
type CustomHook func(ctx context.Context, ns *Namespace, data json.RawMessage) (any, error)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.RequestsTimeout <= 0 {
		c.RequestsTimeout = DefaultRequestsTimeout
	}
	if c.Redact == nil {
		c.Redact = func(h *Handshake) { RedactCredentials(h) }
	}
	c.Links = append([]Link(nil), c.Links...)
	c.Bridge = c.Bridge.withDefaults(c.peerTimeout())
	return c
}

// onError returns the function that gets errors; nil if there is none.
func (o *Options) onError() func(context.Context, error) {
	if o.OnError == nil {
		return nil
	}
	return func(_ context.Context, err error) { o.OnError(err) }
}

// heartbeat and peerTimeout return the core's defaults for zero.
func (o *Options) heartbeat() time.Duration {
	if o.Heartbeat == 0 {
		return time.Second
	}
	return o.Heartbeat
}

func (o *Options) peerTimeout() time.Duration {
	if o.PeerTimeout == 0 {
		return o.heartbeat() * 7 / 2
	}
	return o.PeerTimeout
}

// validate refuses options that cannot work.
func (o *Options) validate(b broker.Broker) error {
	if wire.IsNil(b) {
		return wire.FromAdapter(&backplane.OptionError{Option: "Broker", Reason: "nil"})
	}
	if _, reason := o.Dialect.on(b); reason != "" {
		return wire.FromAdapter(&backplane.OptionError{Option: "Dialect", Reason: reason})
	}
	if b.Capabilities().OnlyExactly && (len(o.Links) > 0 || o.OnBroadcast != nil) {
		return wire.FromAdapter(&backplane.OptionError{Option: "Broker", Reason: "sharded pub/sub, where Links and OnBroadcast cannot have all broadcasts"})
	}
	if o.Subscription > backplane.DynamicSubscription {
		return wire.FromAdapter(&backplane.OptionError{Option: "Subscription", Reason: "not one of the modes"})
	}
	if o.Subscription == backplane.DynamicSubscription && (len(o.Links) > 0 || o.OnBroadcast != nil) {
		return wire.FromAdapter(&backplane.OptionError{Option: "Subscription", Reason: "dynamic, and Links or OnBroadcast needs all broadcasts"})
	}
	for _, l := range o.Links {
		switch {
		case wire.IsNil(l.Broker):
			return wire.FromAdapter(&backplane.OptionError{Option: "Links", Reason: "a nil broker"})
		case l.Broker.Capabilities().OnlyExactly:
			return wire.FromAdapter(&backplane.OptionError{Option: "Links", Reason: "a broker with sharded pub/sub, where a server cannot have all broadcasts"})
		case l.Dialect > V5:
			return wire.FromAdapter(&backplane.OptionError{Option: "Links", Reason: "a dialect that is not one of V6 and V5"})
		}
	}
	keys := linkKeys(o.links(b))
	for i, key := range keys {
		if slices.Contains(keys[:i], key) {
			return wire.FromAdapter(&backplane.OptionError{Option: "Links", Reason: "two links with the prefix " + key + ": every link needs its own"})
		}
	}
	if o.Bridge == nil {
		return nil
	}
	if len(o.Links) == 0 {
		return wire.FromAdapter(&backplane.OptionError{Option: "Bridge", Reason: "there is only one link"})
	}
	return o.Bridge.validate(o.heartbeat(), o.peerTimeout())
}

// links lists all links of a server on b.
func (o *Options) links(b broker.Broker) []Link {
	d, _ := o.Dialect.on(b)
	return append([]Link{{Broker: b, Dialect: d}}, o.Links...)
}

// linkKeys names links, in the same way on every node with the same ones: by their prefix, and by the kind of broker
// if that distinguishes them.
func linkKeys(links []Link) []string {
	prefix := func(l Link) string { return cmp.Or(l.Broker.Capabilities().Prefix, l.Dialect.String()) }
	keys := make([]string, len(links))
	for i, l := range links {
		keys[i] = prefix(l)
		for j, other := range links {
			if j != i && prefix(other) == keys[i] {
				keys[i] = l.Broker.Capabilities().Name + ":" + keys[i]
				break
			}
		}
	}
	return keys
}
