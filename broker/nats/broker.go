package natsbroker

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Broker implements broker.Broker on NATS. Make one for each node, with New or Open. Its methods
// are safe for concurrent use.
type Broker struct {
	opts  Options
	names *naming

	subjects    *subjectCache
	out         *outbox
	in          *subscriber
	propagation *propagation

	stop    context.CancelFunc // ends the propagation probes
	closing *lifecycle.Once
}

var _ broker.Broker = (*Broker)(nil)

// Open makes a broker for one server or a cluster, from addresses separated by commas: nats://host:4222 or
// tls://host:4222. host alone means nats://host:4222. An address has a user and a password (nats://user:password@host)
// or a token (nats://token@host) if the servers require them. In these, all characters except letters, digits and -._~
// must be escaped, as in a URL. Open does not connect: the broker opens connections when it needs them. nil options
// mean the defaults.
//
// Errors: *AddressError, *PrefixError, and the errors of Options.NATS.
func Open(addresses string, opts *Options) (*Broker, error) {
	o := nats.GetDefaultOptions()
	o.Servers = []string{addresses}
	return open(o, nil, opts)
}

// New makes a broker that connects to the servers in the same way as the caller's connection. It
// copies the connection's addresses, including those that the servers have announced, and its
// credentials, TLS settings, name and dialer. It does not use, change or close the connection,
// which the caller may close at any time (see the package documentation). Do not change the
// connection's handlers during the call. New does not connect. nil options mean the defaults.
//
// Errors: *AddressError, *PrefixError, those of Options.NATS, and one for a nil connection.
func New(nc *nats.Conn, opts *Options) (*Broker, error) {
	if nc == nil {
		return nil, errors.New("nats broker: new: the connection is nil")
	}
	return open(nc.Opts, nc, opts)
}

func open(o nats.Options, nc *nats.Conn, opts *Options) (*Broker, error) {
	b := &Broker{opts: opts.withDefaults(), closing: lifecycle.NewOnce()}
	var err error
	if b.names, err = newNaming(b.opts.Prefix); err != nil {
		return nil, err
	}
	to, err := newEndpoints(o, b.opts.NATS, b.opts.ProbeTimeout)
	if err != nil {
		return nil, err
	}
	maxPayload := b.opts.MaxPayload
	if maxPayload <= 0 {
		maxPayload = defaultMaxPayload
	}
	if nc != nil {
		to.learn(to.list[0], nc)
		if allows := int(nc.MaxPayload()); b.opts.MaxPayload <= 0 && allows > frameReserve {
			maxPayload = allows - frameReserve
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.propagation = newPropagation(ctx, to, b.names, &b.opts)
	b.subjects = newSubjectCache(b.names)
	manager := &connManager{to: to, opts: &b.opts, log: b.opts.conns}
	b.out = newOutbox(&b.opts, maxPayload, manager, func() bool { return b.in.needed() })
	b.in = newSubscriber(b.names, &b.opts, b.propagation, &b.out.identity, b.out.Wake, b.subjects.forget)
	manager.out, manager.in = b.out, b.in
	b.out.Wake() // starts the sender
	return b, nil
}

// Prefix returns the prefix of all subjects.
func (b *Broker) Prefix() string { return b.opts.Prefix }

// Publish implements broker.Broker. Once the broker has connected to a server that accepts less
// than Capabilities.MaxPayload, Publish refuses larger payloads with a *broker.PayloadError that
// has that server's limit.
func (b *Broker) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	to, err := b.subjects.target(ch)
	if err != nil {
		return err
	}
	return b.out.put(ctx, to, payload, b.in.localSubscribers(to, b.out.expects()))
}

// Flush implements broker.Broker: nil means that the server has processed each message. A loss
// that a Flush has returned is not returned by one that begins later.
func (b *Broker) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.out.Flush(ctx)
}

// Subscribe implements broker.Broker. While subscriptions of this broker are interrupted, it waits for the end of the
// outage. Else, if no connection can be made, Subscribe returns the cause. For a filter that the server does not allow
// it returns an error that wraps nats.ErrPermissionViolation.
func (b *Broker) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if r == nil {
		return nil, errNoReceiver
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := b.in.subscribe(ctx, r, filters)
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Subscribers implements broker.Broker. It returns errors.ErrUnsupported, because NATS does not
// report its subscribers to clients; ErrClosed after Close; and the error of a context that has ended.
func (b *Broker) Subscribers(ctx context.Context, _ ...broker.Channel) ([]int, error) {
	return nil, b.unsupported(ctx)
}

// Responders implements broker.Broker. It returns errors.ErrUnsupported, like Subscribers.
func (b *Broker) Responders(ctx context.Context, _ broker.Protocol, _ string) ([]string, error) {
	return nil, b.unsupported(ctx)
}

func (b *Broker) unsupported(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-b.in.closing:
		return broker.ErrClosed
	default:
		return errors.ErrUnsupported
	}
}

// OnLoss implements broker.Broker.
func (b *Broker) OnLoss(f func(broker.Loss)) (stop func()) {
	end, unwatch := b.out.OnLoss(f), b.opts.conns.Watch()
	return func() {
		end()
		unwatch()
	}
}

// Stats implements broker.Broker.
func (b *Broker) Stats() broker.Stats {
	var s broker.Stats
	b.out.Fill(&s)
	b.in.fill(&s)
	return s
}

// Capabilities implements broker.Broker: the broker keeps order across channels, reconnects, and
// counts nothing. OnlyCrossroom is true.
func (b *Broker) Capabilities() broker.Capabilities {
	return broker.Capabilities{
		Name:                "nats",
		Prefix:              b.opts.Prefix,
		MaxPayload:          b.out.max,
		OrderAcrossChannels: true,
		Reconnects:          true,
		OnlyCrossroom:       true,
	}
}

// Close implements broker.Broker. While the server is unreachable, Close waits until it returns,
// the queued messages are too old, or ctx ends. Close also waits until running calls of receivers
// have returned, or ctx ends; see "Calls that wait" in the package documentation.
func (b *Broker) Close(ctx context.Context) error { return b.closing.Do(ctx, b.shutDown) }

func (b *Broker) shutDown(ctx context.Context) error {
	receivers := b.in.close()
	err := b.out.Close(ctx)
	b.stop()
	late := b.propagation.close(ctx)
	if err := lifecycle.Wait(ctx, receivers...); err != nil {
		late = err
	}
	return lifecycle.Join(err, late)
}
