// Package dial opens a broker by its address, which a program usually reads from its configuration. It imports the memory,
// Redis and NATS brokers. A program that imports one of these alone has no dependency on the others.
//
//	b, err := dial.Open(os.Getenv("BROKER"), &dial.Options{Prefix: "shop"})
//	node, err := backplane.New(b, nil) // or adapter.New
//	...
//	err = errors.Join(node.Close(ctx), b.Close(ctx)) // in this order
//
// One broker is for one node. For several nodes in one process use New, and Dialer.Broker for each node. A Dialer needs no
// closing.
//
// The package documentation of each broker (memorybroker, redisbroker, natsbroker) describes its limits, what it does
// while its servers are down, and how long Close can take. Package broker describes order, delivery and duplicates.
//
// # Addresses
//
//	memory                                           a bus in this process
//	redis://user:password@host:6379                  Redis; rediss:// with TLS
//	unix:///run/redis.sock                           Redis on a socket of the system
//	redis+sentinel://host:26379,host:26379/master    Redis by its Sentinels; rediss+sentinel:// with TLS
//	redis+cluster://host:6379,host:6379              a Redis Cluster, by some of its servers; rediss+cluster:// with TLS
//	nats://user:password@host:4222,host:4222         NATS, by some servers of a cluster; tls:// with TLS
//
// User and password may be left out. All of their characters but letters, digits and -._~ must be percent-encoded. The
// ports shown are the defaults. NATS also takes a token (nats://token@host), and a scheme in front of each server. A
// user before several servers of NATS belongs to the first server only. Give each server its own user, or use the
// parameter credentials.
//
// A database in an address of Redis, other than 0, is an error, because pub/sub ignores databases. Fleets that share a
// server are separated by their prefix.
//
// # Parameters
//
// An address may end with ?name=value&name=value. An unknown parameter, one of another system, and one that is set twice
// are errors. memory has none.
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
// The files of TLS are in PEM. New and Open read them; for Redis, Dialer.Broker reads them again. New and Open only
// check that the file of credentials exists: the NATS client reads it at each connect. These calls do no other I/O, and
// do not wait: a broker connects when it is first used.
//
// Errors have no part of an address, because a password that is not percent-encoded may be anywhere in it.
package dial

import (
	"context"
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

// Options that all brokers have. Nil means all defaults. New and Open copy them. A broker with other options is opened by
// its own package.
type Options struct {
	// Prefix of the channel names, which separates fleets on one server. Empty means the broker's default. It has no
	// effect in memory.
	Prefix string
	// Logger gets a line for every lost and every restored connection. The broker's goroutines call its handler, which
	// must not block. Nil means slog.Default(). It has no effect in memory.
	Logger *slog.Logger
}

// AddressError reports an address that cannot be used. It has no part of the address.
type AddressError struct{ Reason string }

func (e *AddressError) Error() string {
	return "dial: open broker by its address (not shown, it may hold a password): " + e.Reason
}

// Dialer makes brokers on one system, one for each node. It is safe for concurrent use.
type Dialer struct {
	name string
	open func() (broker.Broker, error)
}

// New returns a dialer for an address. Brokers in memory reach each other only if one dialer has made them. New makes a
// broker and closes it, without a connection, to check the address. It returns one of these errors, and each means that
// the address, a file that it names, or the prefix must be corrected:
//
//	*AddressError                                                     a form that no broker has, a parameter, a file
//	*redisbroker.AddressError, *natsbroker.AddressError               the rest of the address; a file for Redis
//	*redisbroker.PrefixError, *natsbroker.PrefixError                 the prefix
func New(addr string, opts *Options) (*Dialer, error) {
	d, err := parse(addr, opts)
	if err != nil {
		return nil, err
	}
	// Making a broker shows each error of the address and the prefix.
	b, err := d.open()
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

// Open makes one broker, without a connection. The caller closes it, after its node. In memory it is alone: use New for
// several. It returns the errors of New.
func Open(addr string, opts *Options) (broker.Broker, error) {
	d, err := parse(addr, opts)
	if err != nil {
		return nil, err
	}
	return d.open()
}

// opened returns a broker as an interface, which is nil with an error.
func opened[B broker.Broker](b B, err error) (broker.Broker, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Broker makes a broker for one more node, without a connection. The caller closes it, after its node. Its errors are those
// of New. They are possible here only if a file of TLS was changed or removed after New.
func (d *Dialer) Broker() (broker.Broker, error) { return d.open() }

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
	d.open = func() (broker.Broker, error) { return opened(redisbroker.Open(base, opts)) }
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
	d.open = func() (broker.Broker, error) { return opened(natsbroker.Open(servers, opts)) }
	return nil
}
