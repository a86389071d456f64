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
)

// DefaultRequestsTimeout is Options.RequestsTimeout unless set.
const DefaultRequestsTimeout = time.Second

// Options of a Server. Nil means all defaults. New copies them.
type Options struct {
	// Dialect to ask questions in: the generation of the Node.js servers on this
	// prefix. Everything is understood on receipt, whatever this says. Zero: V6.
	Dialect Dialect

	// RequestsTimeout is how long a question to the fleet waits for answers, and an
	// emit with acknowledgement for its clients, unless the context ends earlier.
	// Zero or negative: DefaultRequestsTimeout.
	RequestsTimeout time.Duration

	// OnError hears of everything that has no caller to return to: unreadable
	// messages, outages, lost messages, panics in callbacks, a mixed fleet. Calls come
	// one at a time from one goroutine. Behind a slow call unreadable messages of one
	// channel, and losses of one cause, become one error with their number; what still
	// does not fit into the queue is dropped and counted in Stats.Unreported. Close waits
	// for a call under way and for what is queued, until its context ends: to close the
	// server from here, do it in a goroutine. Nil: only the Logger.
	OnError func(error)

	// Logger gets the same and a few words more. Nil: silence.
	Logger *slog.Logger

	// Observers are called for what the server does, in this order: tracing, metrics,
	// tests. See package observe.
	Observers []observe.Observer

	// Name is the readable part of the server's uid, such as a host name. Empty:
	// none.
	Name string

	// CustomHook answers the custom requests of other nodes, and this node's own,
	// in namespaces that have no hook of their own (Namespace.OnCustomRequest).
	// Nil: the answer is null, as it is with socket.io-redis.
	CustomHook CustomHook

	// OnBroadcast, if not nil, is called for each broadcast of another server, also if it
	// selects no socket here, in order and before sockets get it; if it returns false they do
	// not. It is for hosts that keep what was sent, such as for clients that come back. It must
	// not block. rooms and except are valid during the call; the packet may be kept. With it
	// the server reads every broadcast, also for rooms that no socket here is in.
	OnBroadcast func(p *Packet, rooms, except []string) bool

	// Heartbeat is the interval at which Go nodes announce themselves to each
	// other. Zero: 1 s. PeerTimeout is the time after the last message of a Go node
	// at which it counts as dead. Zero: 3.5 × Heartbeat. Both: a negative value is an
	// error. StallTimeout is the time that a socket's method may take, when another
	// server's message is delivered, before the server goes on without the socket. Zero: two fifths of RequestsTimeout, but at
	// least 50 ms and at most 1 s. Negative: for ever.
	Heartbeat, PeerTimeout, StallTimeout time.Duration

	// MaxAttachments is how many binary values an event may have where Node.js servers can
	// be; more are a *HarmError. Clients disconnect at more than their own option of that
	// name, and a Node.js process with a client of socket.io 2 terminates. Zero: 10, which
	// is what clients take by default. Negative: no limit, for clients older than that limit.
	MaxAttachments int

	// Subscription says which broadcasts the server receives, in each of its namespaces: see
	// package backplane, section "Subscriptions". Broadcasts of Node.js servers and emitters to
	// one room or one socket are received by subscriptions to rooms too. With Links or
	// OnBroadcast the server receives all broadcasts, and backplane.DynamicSubscription is an error.
	Subscription backplane.SubscriptionMode

	// Links are more prefixes that this server is on, with the same namespaces,
	// sockets and rooms: see "Two generations" in the package documentation.
	Links []Link

	// Bridge, if not nil, passes broadcasts of nodes that are on one link only on to
	// the other links. All Go nodes with several links must have the same setting.
	Bridge *Bridge
}

// Link is one more place of a Server: a broker with a prefix of its own, and the
// generation of the Node.js servers there.
type Link struct {
	Broker  broker.Broker
	Dialect Dialect
}

// CustomHook answers a custom request. data is what the asker sent, null if it sent
// nothing; the result is encoded as JSON. A hook runs in a goroutine of its own,
// several at a time; ctx ends after Options.RequestsTimeout, when the server closes,
// or when the asker, if it is this node, stops waiting. An error or a panic is
// reported to Options.OnError; Go nodes are told the error, Node.js servers get null.
type CustomHook func(ctx context.Context, ns *Namespace, data json.RawMessage) (any, error)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.RequestsTimeout <= 0 {
		c.RequestsTimeout = DefaultRequestsTimeout
	}
	c.Links = append([]Link(nil), c.Links...)
	c.Bridge = c.Bridge.withDefaults(c.peerTimeout())
	return c
}

// heartbeat and peerTimeout are the core's defaults for zero.
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

// validate refuses what could not work.
func (o *Options) validate(b broker.Broker) error {
	if b == nil {
		return &backplane.OptionError{Option: "Broker", Reason: "nil"}
	}
	if o.Dialect > V5 {
		return &backplane.OptionError{Option: "Dialect", Reason: "not one of V6 and V5"}
	}
	if o.Subscription > backplane.DynamicSubscription {
		return &backplane.OptionError{Option: "Subscription", Reason: "not one of the modes"}
	}
	if o.Subscription == backplane.DynamicSubscription && (len(o.Links) > 0 || o.OnBroadcast != nil) {
		return &backplane.OptionError{Option: "Subscription", Reason: "dynamic, and Links or OnBroadcast needs all broadcasts"}
	}
	for _, l := range o.Links {
		switch {
		case l.Broker == nil:
			return &backplane.OptionError{Option: "Links", Reason: "a nil broker"}
		case l.Dialect > V5:
			return &backplane.OptionError{Option: "Links", Reason: "a dialect that is not one of V6 and V5"}
		}
	}
	keys := linkKeys(o.links(b))
	for i, key := range keys {
		if slices.Contains(keys[:i], key) {
			return &backplane.OptionError{Option: "Links", Reason: "two links with the prefix " + key + ": every link needs its own"}
		}
	}
	if o.Bridge == nil {
		return nil
	}
	if len(o.Links) == 0 {
		return &backplane.OptionError{Option: "Bridge", Reason: "there is only one link"}
	}
	return o.Bridge.validate(o.heartbeat(), o.peerTimeout())
}

// links lists all links of a server on b.
func (o *Options) links(b broker.Broker) []Link {
	return append([]Link{{Broker: b, Dialect: o.Dialect}}, o.Links...)
}

// linkKeys names links, in the same way on every node that has the same ones: by their
// prefix, and by the kind of broker if that tells them apart.
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
