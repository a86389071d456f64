// Package dial opens a broker by its address, which a program usually reads from its configuration. It imports the memory,
// Redis and NATS brokers. A program that needs only one of them, or options that this package does not have, imports that
// broker's package instead.
//
//	b, err := dial.Open(os.Getenv("BROKER"), &dial.Options{Prefix: "shop"}) // an empty address is an error
//	node, err := backplane.New(b, nil)                                      // or adapter.New
//	...
//	err = node.Close(ctx) // first the node
//	err = b.Close(ctx)    // with time left to send what is queued
//
// One broker is for one node. For several nodes in one process call New once, and Dialer.Broker for each node. A Dialer
// needs no closing.
//
// No call of this package connects or waits. New and Open return nil also if no server listens at the address: the broker
// connects when it is first used. The first Subscribe, and so the first namespace of a node, returns the failure after
// one attempt for each server, of at most 3 seconds each. Publish returns nil, and the message waits in the queue.
//
// Package broker describes waits, callbacks, outages, order, duplicates and errors of all brokers. The documentation of
// each broker (memorybroker, redisbroker, natsbroker) has its limits, its further errors, and what Close waits for. All
// options of a broker that neither Options nor the address sets have their defaults.
//
// # Addresses
//
//	memory                                           a bus in this process
//	redis://user:password@host:6379                  one Redis server; rediss:// with TLS
//	unix:///run/redis.sock                           one Redis server, through a Unix socket
//	redis+sentinel://host:26379,host:26379/master    the Redis master that Sentinels name; rediss+sentinel:// with TLS
//	redis+cluster://host:6379,host:6379              a Redis Cluster; rediss+cluster:// with TLS
//	nats://host:4222,host:4222                       a NATS server or cluster; tls:// with TLS
//	nats://user:password@host:4222                   NATS with a user
//	nats://token@host:4222                           NATS with a token
//
// The ports shown are the defaults. Of a cluster, some of its servers suffice. All Redis addresses may have a user and a
// password, as in the first one. In users, passwords and tokens, all characters but letters, digits and -._~ must be
// percent-encoded.
//
// In a NATS address a user or a token is for one server. Repeat it for each one
// (nats://user:password@a,nats://user:password@b), or use the parameter credentials.
//
// Fleets that share a server are separated by their prefix. The default is "socket.io" on Redis and "crossroom" on NATS.
// A Redis address with a database other than 0 is an error, because pub/sub ignores databases.
//
// # Parameters
//
// An address may end with ?name=value&name=value. Each parameter may be set once, and only on the addresses of its row.
// memory has no parameters.
//
//	parameter                               addresses             meaning
//	prefix                                  Redis, NATS           as Options.Prefix, which must then be empty
//	sharded                                 Redis                 true or false, as Options.Sharded of redisbroker
//	client_name                             Redis, NATS           the name of the connections, as the server lists them
//	credentials                             NATS                  a file with user credentials (.creds)
//	sentinel_username, sentinel_password    Redis with Sentinel   for the Sentinels
//	tls_ca                                  with TLS              a file of the authorities to trust in place of the system's
//	tls_cert, tls_key                       with TLS              files of the client's certificate and key
//	tls_server_name                         with TLS              the name to verify in place of the host
//
// The TLS files are in PEM. New and Open read them, and so does Dialer.Broker for Redis. The NATS client reads the
// credentials file at each connect; New and Open check that it exists.
package dial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/address"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// Options that all brokers have. Nil means all defaults. New and Open copy them.
type Options struct {
	// Prefix of the channel names, which separates fleets on one server. Empty means "socket.io" on Redis and "crossroom"
	// on NATS. It has no effect in memory.
	Prefix string
	// Logger gets a line for every lost and every restored connection. These lines have level debug while a node uses
	// the broker, because the node logs outages itself. On Redis Logger also gets a line if other brokers use the prefix
	// with the other setting of sharded. The broker's goroutines call its handler, which must not block or call the
	// broker. Nil means slog.Default(). It has no effect in memory.
	Logger *slog.Logger
}

// AddressError reports an address, a file that it names, or a prefix that cannot be used. Correct it before calling
// again. The error contains no part of the address, because a password that is not percent-encoded may be anywhere in
// it.
type AddressError struct{ Reason string }

func (e *AddressError) Error() string {
	return "dial: open broker by its address (not shown, it may hold a password): " + e.Reason
}

// Dialer makes brokers on one system, one for each node. It is safe for concurrent use.
type Dialer struct {
	name string
	open func() (broker.Broker, error)
}

// refused returns the error of a broker's package as one of this package, which the caller called.
func refused(err error) error {
	if e, ok := errors.AsType[*redisbroker.AddressError](err); ok {
		return &AddressError{e.Reason}
	}
	if e, ok := errors.AsType[*natsbroker.AddressError](err); ok {
		return &AddressError{fmt.Sprintf("server %d: %s", e.Number, e.Reason)}
	}
	if e, ok := errors.AsType[*redisbroker.PrefixError](err); ok {
		return &AddressError{"the prefix: " + e.Reason}
	}
	if e, ok := errors.AsType[*natsbroker.PrefixError](err); ok {
		return &AddressError{"the prefix: " + e.Reason}
	}
	return err
}

// New returns a dialer for an address. Brokers in memory reach each other only if one dialer has made them. To check the
// address, New makes a broker and closes it. The only error is an *AddressError.
func New(addr string, opts *Options) (*Dialer, error) {
	d, err := parse(addr, opts)
	if err != nil {
		return nil, err
	}
	// Making a broker shows each error of the address and the prefix.
	b, err := d.Broker()
	if err != nil {
		return nil, err
	}
	return d, b.Close(context.Background()) // no message was sent, so it returns at once
}

// parse reads an address. The dialer's open returns the errors that only making a broker shows.
func parse(addr string, opts *Options) (*Dialer, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	base, query, _ := strings.Cut(addr, "?")
	if strings.Contains(query, "@") {
		return nil, &AddressError{"'@' behind '?': characters of user and password such as / ? # @ : % must be percent-encoded"}
	}
	params, err := address.ParseQuery(query)
	if err != nil {
		return nil, &AddressError{err.Error()}
	}
	scheme, _, isURL := strings.Cut(base, "://")
	scheme = strings.ToLower(scheme)
	d := &Dialer{}
	switch system, _, _ := strings.Cut(scheme, "+"); {
	case base == "memory":
		if addr != base {
			return nil, &AddressError{"memory has no parameters"}
		}
		bus := memorybroker.NewBus(nil)
		d.name, d.open = "memory", func() (broker.Broker, error) { return bus.Broker(), nil }
		return d, nil
	case isURL && (system == "redis" || system == "rediss" || system == "unix"):
		d.name = "redis"
		err = d.redis(base, params, o)
	case isURL && (scheme == "nats" || scheme == "tls"):
		d.name = "nats"
		err = d.nats(base, scheme, params, o)
	default:
		return nil, &AddressError{"want memory, redis://host:port or nats://host:port (the package documentation has all forms)"}
	}
	return d, err
}

// Open makes one broker. The caller closes it, after its node. A broker of memory that Open makes is alone on its bus: use
// New for several. The only error is an *AddressError.
func Open(addr string, opts *Options) (broker.Broker, error) {
	d, err := parse(addr, opts)
	if err != nil {
		return nil, err
	}
	return d.Broker()
}

// Broker makes a broker for one more node. The caller closes it, after its node. It fails, with an *AddressError, only if
// a TLS file of a Redis address was changed or removed after New: restore the file and call again.
func (d *Dialer) Broker() (broker.Broker, error) {
	b, err := d.open()
	if err != nil {
		return nil, refused(err)
	}
	return b, nil
}

// System returns "memory", "redis" or "nats", as Capabilities.Name of the brokers does.
func (d *Dialer) System() string { return d.name }

// prefixOf takes the prefix out of the parameters, or out of the options.
func prefixOf(params url.Values, o *Options) error {
	if !params.Has("prefix") {
		return nil
	}
	if o.Prefix != "" {
		return &AddressError{"the prefix is set in the address and in Options"}
	}
	o.Prefix = params.Get("prefix")
	params.Del("prefix")
	return nil
}

func (d *Dialer) redis(base string, params url.Values, o Options) error {
	if err := prefixOf(params, &o); err != nil {
		return err
	}
	opts := &redisbroker.Options{Prefix: o.Prefix, Logger: o.Logger}
	if params.Has("sharded") {
		switch params.Get("sharded") {
		case "true":
			opts.Sharded = true
		case "false":
		default:
			return &AddressError{"the parameter sharded is neither true nor false"}
		}
		params.Del("sharded")
	}
	if len(params) > 0 {
		base += "?" + params.Encode()
	}
	d.open = func() (broker.Broker, error) { return redisbroker.Open(base, opts) }
	return nil
}

func (d *Dialer) nats(servers, scheme string, params url.Values, o Options) error {
	if err := prefixOf(params, &o); err != nil {
		return err
	}
	names := []string{"client_name", "credentials"}
	if scheme == "tls" {
		names = append(names, address.TLSNames...)
	}
	if err := address.Allow(params, names...); err != nil {
		return &AddressError{err.Error()}
	}
	opts := &natsbroker.Options{Prefix: o.Prefix, Logger: o.Logger}
	if name := params.Get("client_name"); name != "" {
		opts.NATS = append(opts.NATS, nats.Name(name))
	}
	if params.Has("credentials") {
		file := params.Get("credentials")
		if _, err := os.Stat(file); err != nil {
			return &AddressError{"credentials: the file cannot be read"}
		}
		opts.NATS = append(opts.NATS, nats.UserCredentials(file))
	}
	config, err := address.TLS(params)
	if err != nil {
		return &AddressError{err.Error()}
	}
	if config != nil {
		opts.NATS = append(opts.NATS, nats.Secure(config))
	}
	// The first server says how the others are reached, unless they say it themselves.
	list := strings.Split(servers, ",")
	for i, s := range list {
		if i > 0 && !strings.ContainsAny(s, "/@") {
			list[i] = scheme + "://" + strings.TrimSpace(s)
		}
	}
	servers = strings.Join(list, ",")
	d.open = func() (broker.Broker, error) { return natsbroker.Open(servers, opts) }
	return nil
}
