package redisbroker

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Broker implements broker.Broker on Redis. Make one for each node, with New or Open. Its
// methods are safe for concurrent use.
type Broker struct {
	publishClient   redis.UniversalClient
	subscribeClient redis.UniversalClient
	own             redis.UniversalClient // made by Open, nil otherwise
	opts            Options
	names           *naming
	limits          *limits

	out        sending
	nodes      *nodes // published to
	subscriber *subscriber
	querier    *querier

	stop  context.CancelCauseFunc // ends the subscriber
	works sync.WaitGroup

	closing *lifecycle.Once
}

var _ broker.Broker = (*Broker)(nil)

// Open makes a broker by an address:
//
//	redis://user:password@host:6379                  one server; host:6379 alone is the same
//	rediss://host:6379                               with TLS
//	unix:///run/redis.sock                           a Unix socket
//	redis+sentinel://host:26379,host:26379/master    the master that Sentinels name; rediss+sentinel:// with TLS
//	redis+cluster://host:6379,host:6379              a cluster, by some of its servers; rediss+cluster:// with TLS
//
// User and password may be left out; in them all but letters, digits and -._~ must be percent-encoded. The ports shown
// are the defaults. Parameters follow as ?name=value&name=value:
//
//	client_name                             the name of the connections in CLIENT LIST
//	sentinel_username, sentinel_password    for the Sentinels, with +sentinel
//	tls_ca                                  a file of the authorities to trust in place of the system's, with rediss
//	tls_cert, tls_key                       files of the client's certificate and key, with rediss
//	tls_server_name                         the name to verify in place of the host, with rediss
//
// Another parameter is an error. So is a database other than 0: pub/sub ignores databases, use Options.Prefix. It does no
// I/O except to read these files; connections are opened when they are needed. Close also closes the client behind it. nil
// options mean the defaults.
//
// Errors: *AddressError, also for a file that cannot be read; *PrefixError; *ClientError of Options.SubscribeClient.
func Open(address string, opts *Options) (*Broker, error) {
	client, err := openClient(address)
	if err != nil {
		return nil, err
	}
	b, err := New(client, opts)
	if err != nil {
		client.Close()
		return nil, err
	}
	b.own = client
	return b, nil
}

// New makes a broker for a client: a *redis.Client, for a single server or with Sentinel, or a
// *redis.ClusterClient. The caller keeps owning the client, and closes it after the broker.
// The broker uses the client's dialer, credentials and client name, and its list of the
// cluster's masters. Hooks, OnConnect, timeouts and retries do not apply (see the package
// documentation). New does no I/O. nil options mean the defaults.
//
// Errors: *PrefixError, *ClientError (nil, of another type, or with a URL as its address).
func New(client redis.UniversalClient, opts *Options) (*Broker, error) {
	b := &Broker{publishClient: client, subscribeClient: client, opts: opts.withDefaults(), closing: lifecycle.NewOnce()}
	if b.opts.SubscribeClient != nil {
		b.subscribeClient = b.opts.SubscribeClient
	}
	var err error
	if b.names, err = newNaming(b.opts.Prefix); err != nil {
		return nil, err
	}
	b.limits = newLimits(&b.opts)
	to, err := newNodes(b.publishClient, b.limits)
	if err != nil {
		return nil, err
	}
	from := to
	if b.opts.SubscribeClient != nil {
		if from, err = newNodes(b.subscribeClient, b.limits); err != nil {
			return nil, err
		}
		from.replicas = true
	}
	b.names.sharded, to.sharded, from.sharded = b.opts.Sharded, b.opts.Sharded, b.opts.Sharded
	b.nodes, b.limits.each = to, to.slots() != nil
	b.subscriber = newSubscriber(from, b.names, &b.opts)
	b.querier = newQuerier(from, b.names, &b.opts)
	b.out = b.newSending(to, from)

	other := &layouts{names: b.names, q: b.querier, opts: &b.opts, changed: make(chan struct{}, 1)}
	b.subscriber.reg.watch = other.wake

	ctx, stop := context.WithCancelCause(context.Background())
	b.stop = stop
	b.subscriber.begin(ctx)
	b.works.Go(func() { b.subscriber.run(ctx) })
	b.works.Go(func() { other.run(ctx, b.subscriber) })
	return b, nil
}

func (b *Broker) newSending(to, from *nodes) sending {
	if to.slots() != nil {
		return newSpread(to.slots(), b.names, &b.opts)
	}
	p := &publisher{nodes: to, server: &picker{nodes: to, use: forPublishing}, opts: &b.opts, log: b.opts.conns}
	p.out = newOutbox(b.names, &b.opts, p)
	if from == to {
		p.subscriber = b.subscriber
	}
	p.out.Wake() // starts the sender
	return p.out
}

// PublishClient returns the client from which the broker has the address and the credentials for publishing: the one
// given to New, or made by Open. It is for other commands of the program. Close closes it only if Open made it.
func (b *Broker) PublishClient() redis.UniversalClient { return b.publishClient }

// SubscribeClient returns Options.SubscribeClient, or the client of PublishClient if that is nil.
func (b *Broker) SubscribeClient() redis.UniversalClient { return b.subscribeClient }

// Prefix returns the prefix of all channel names.
func (b *Broker) Prefix() string { return b.opts.Prefix }

// Publish implements broker.Broker: it puts the message into the queue, and waits only while the queue is full (see
// Publishing in the package documentation). Once the broker has connected to a server that allows less than
// Capabilities.MaxPayload, Publish refuses larger payloads with a *broker.PayloadError that has that server's limit, if
// the user may read it (CONFIG GET).
func (b *Broker) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.names.check(ch); err != nil {
		return err
	}
	if err := b.limits.check(payload); err != nil {
		return err
	}
	return b.out.put(ctx, ch, payload)
}

// Flush implements broker.Broker: nil means that the server has replied to each message. A loss that a Flush has
// returned is not returned by one that begins later.
func (b *Broker) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.out.Flush(ctx)
}

// Subscribe implements broker.Broker. While subscriptions of this broker are interrupted, it waits for the end of the
// outage. Else, if no connection can be made, or it breaks before the filters are live, Subscribe returns the cause and
// the broker makes no other attempt. A filter that the server does not allow is a *ServerError.
func (b *Broker) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if r == nil {
		return nil, errNoReceiver
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := b.subscriber.subscribe(ctx, r, filters)
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Subscribers implements broker.Broker with PUBSUB NUMSUB, summed over all servers that a
// message reaches. The numbers are lower bounds if the error is a *broker.InexactError, which
// names the servers that did not respond. They are nil if the user lacks PUBSUB.
func (b *Broker) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	return b.querier.subscribers(ctx, channels)
}

// Responders implements broker.Broker with PUBSUB CHANNELS, with the same errors as Subscribers. Each server compares all
// of its channels with a pattern to find the response channels, so it is slow on a server with many channels.
func (b *Broker) Responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	return b.querier.responders(ctx, w, ns)
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
	b.subscriber.fill(&s)
	return s
}

// Capabilities implements broker.Broker. The broker counts subscribers, lists responders and reconnects. It keeps order
// across channels except on a cluster, and OnlyExactly is Options.Sharded.
func (b *Broker) Capabilities() broker.Capabilities {
	return broker.Capabilities{
		Name:              "redis",
		Prefix:            b.opts.Prefix,
		MaxPayload:        b.opts.MaxPayload,
		CountsSubscribers: true,
		ListsResponders:   true,
		// In a cluster a message reaches other nodes over the servers' own links. After a
		// lost connection the next messages may start from another server.
		OrderAcrossChannels: b.nodes.cluster == nil,
		Reconnects:          true,
		OnlyExactly:         b.opts.Sharded,
	}
}

// Close implements broker.Broker. While the server is unreachable, Close waits until it returns, the queued messages are
// too old, or ctx ends. Close also waits until running calls of receivers have returned, or ctx ends; see
// "Calls that wait" in the package documentation.
func (b *Broker) Close(ctx context.Context) error { return b.closing.Do(ctx, b.shutDown) }

func (b *Broker) shutDown(ctx context.Context) error {
	receivers := b.subscriber.close()
	b.querier.close()
	err := b.out.Close(ctx)
	b.stop(broker.ErrClosed)
	b.works.Wait()
	late := lifecycle.Wait(ctx, receivers...)
	if b.own != nil {
		b.own.Close()
	}
	return lifecycle.Join(err, late)
}
