package natsbroker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
)

// endpoint is the address of a server.
type endpoint struct {
	url *url.URL
	// tlsName is the name to check a certificate against, if it is not the host's.
	tlsName string
	learned bool // announced by a server, not given by the caller
}

// endpoints are the servers that a broker knows: those of the caller, and those that the servers
// have announced. It is safe for concurrent use.
type endpoints struct {
	base    nats.Options // for every connection
	timeout time.Duration

	mu        sync.Mutex
	list      []endpoint
	known     map[string]bool // by host and port
	announced []string        // the servers of the cluster in the last announcement
}

// newEndpoints copies from options how to connect to servers. It drops everything that would make
// a connection act on its own: callbacks, reconnecting, pings.
func newEndpoints(o nats.Options, further []nats.Option, timeout time.Duration) (*endpoints, error) {
	o.Servers = slices.Clone(o.Servers)
	for _, f := range further {
		if f == nil {
			continue
		}
		if err := f(&o); err != nil {
			return nil, fmt.Errorf("nats broker: apply Options.NATS: %w", err)
		}
	}
	servers := o.Servers
	if o.Url != "" {
		servers = append([]string{o.Url}, servers...)
	}
	if len(servers) == 0 {
		servers = []string{nats.DefaultURL}
	}
	e := &endpoints{timeout: timeout, known: map[string]bool{}}
	number := 1
	for _, s := range servers {
		all, err := parseAddresses(s, number)
		if err != nil {
			return nil, err
		}
		for _, u := range all {
			e.add(endpoint{url: u})
		}
		number += len(all)
	}
	if !o.NoRandomize {
		rand.Shuffle(len(e.list), func(i, j int) { e.list[i], e.list[j] = e.list[j], e.list[i] })
	}
	o.Url, o.Servers = "", nil
	o.AllowReconnect, o.RetryOnFailedConnect, o.ReconnectBufSize = false, false, -1
	o.NoEcho, o.Verbose = true, false // see local
	o.PingInterval, o.FlusherTimeout, o.Timeout = 0, -1, timeout
	o.SkipSubjectValidation = true
	o.NoCallbacksAfterClientClose = false
	o.ClosedCB, o.DisconnectedCB, o.DisconnectedErrCB = nil, nil, nil
	o.ConnectedCB, o.ReconnectedCB, o.ReconnectErrCB = nil, nil, nil
	o.DiscoveredServersCB, o.LameDuckModeHandler, o.AsyncErrorCB = nil, nil, nil
	o.CustomReconnectDelayCB, o.ReconnectToServerCB = nil, nil
	e.base = o
	return e, nil
}

// Reasons for refusing an address. They contain no part of the address.
const (
	noAddress   = "empty"
	unparsed    = "not an address of the form nats://user:password@host:port; other characters than letters, digits and -._~ in a user, a password or a token must be escaped as %2F and so on"
	otherScheme = "neither nats:// nor tls://"
	noHost      = "no host name or IP address"
	noPort      = "no port from 1 to 65535"
	beyondHost  = "text after the host; the characters / ? and # in a user, a password or a token must be escaped as %2F, %3F and %23"
	outOfOrder  = "a user or a token without nats:// before it, or after an address that has none; a comma in a user, a password or a token must be escaped as %2C"
)

// parseAddresses parses a list of addresses, separated by commas. number is that of the first one.
func parseAddresses(list string, number int) ([]*url.URL, error) {
	var all []*url.URL
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		u, reason := parseAddress(s)
		if n := len(all); n > 0 && strings.Contains(s, "@") && (all[n-1].User == nil || !strings.Contains(s, "://")) {
			reason = outOfOrder // the host before it may be part of a secret
		}
		if reason != "" {
			return nil, &AddressError{Number: number + len(all), Reason: reason}
		}
		all = append(all, u)
	}
	return all, nil
}

// parseAddress parses "nats://host:port", "tls://…" or "host:port". If it cannot, it returns a
// reason.
func parseAddress(s string) (u *url.URL, reason string) {
	if s == "" { // as from an unset variable; it hardly means localhost
		return nil, noAddress
	}
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, unparsed // err contains parts of the address
	case u.Scheme != "nats" && u.Scheme != "tls":
		return nil, otherScheme
	case u.Opaque != "" || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(s, "?#"):
		return nil, beyondHost
	case !isHost(u):
		return nil, noHost
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "4222")
	} else if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return nil, noPort
	}
	return u, ""
}

// isHost reports whether an address has a name or an IP address as its host.
func isHost(u *url.URL) bool {
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(u.Hostname())
		return err == nil && addr.Is6()
	}
	return u.Hostname() != "" && strings.IndexFunc(u.Hostname(), func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// add adds an endpoint unless it is known. mu is held, or e is new.
func (e *endpoints) add(p endpoint) {
	if !e.known[p.url.Host] {
		e.known[p.url.Host] = true
		e.list = append(e.list, p)
	}
}

// all returns a copy of the list.
func (e *endpoints) all() []endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// learn adds the servers that the server from has announced over nc. Credentials that went over TLS
// are not sent to another server without it.
func (e *endpoints) learn(from endpoint, nc *nats.Conn) {
	// nats.go uses TLS if the client or the server requires it. Its TLSConnectionState reads a field without its lock.
	e.learnHosts(from, nc.DiscoveredServers(), nc.Opts.Secure || nc.TLSRequired())
}

func (e *endpoints) learnHosts(from endpoint, hosts []string, secure bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(hosts) > 0 { // a server may announce none
		e.announced = []string{from.url.Host}
	}
	for _, h := range hosts {
		u, reason := parseAddress(h)
		if reason != "" {
			continue
		}
		u.Scheme, u.User = from.url.Scheme, from.url.User
		if secure {
			u.Scheme = "tls"
		}
		e.announced = append(e.announced, u.Host)
		p := endpoint{url: u, tlsName: from.tlsName, learned: true}
		// The certificate has the name that the caller gave, not the announced address.
		if p.tlsName == "" && net.ParseIP(u.Hostname()) != nil && net.ParseIP(from.url.Hostname()) == nil {
			p.tlsName = from.url.Hostname()
		}
		e.add(p)
	}
}

// last moves an endpoint to the end of the list, because its connection was lost.
func (e *endpoints) last(p endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.remove(p) {
		e.list = append(e.list, p)
	}
}

// failed moves an endpoint that could not be reached to the end of the list. It deletes an
// endpoint that was learned and is not announced any more: the server has left the cluster, and
// each later attempt would wait for it. An endpoint that was given by the caller stays: a server
// that has just joined the cluster does not announce the others yet.
func (e *endpoints) failed(p endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.remove(p):
	case p.learned && !slices.Contains(e.announced, p.url.Host):
		delete(e.known, p.url.Host)
	default:
		e.list = append(e.list, p)
	}
}

// remove removes an endpoint from the list. It reports whether it was in the list. mu is held.
func (e *endpoints) remove(p endpoint) bool {
	i := slices.IndexFunc(e.list, func(q endpoint) bool { return q.url.Host == p.url.Host })
	if i < 0 {
		return false
	}
	e.list = slices.Delete(e.list, i, i+1)
	return true
}

// options returns the options of a connection to p. wrap wraps its network connection; nil means
// no wrapping.
func (e *endpoints) options(ctx context.Context, p endpoint, wrap func(net.Conn) net.Conn, failed *error) nats.Options {
	o := e.base
	o.Url = p.url.String()
	if p.tlsName != "" && (o.TLSConfig == nil || o.TLSConfig.ServerName == "") {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if o.TLSConfig != nil {
			config = o.TLSConfig.Clone()
		}
		config.ServerName = p.tlsName
		o.TLSConfig = config
	}
	d := &dialer{ctx: ctx, base: &e.base, timeout: e.timeout, wrap: wrap, failed: failed}
	if o.InProcessServer != nil {
		o.InProcessServer = d
	} else {
		o.CustomDialer = d
	}
	return o
}

// dialer makes the network connection of one *nats.Conn as the caller's options say. In addition
// it respects a context, and wraps the connection.
type dialer struct {
	ctx     context.Context
	base    *nats.Options
	timeout time.Duration
	wrap    func(net.Conn) net.Conn
	failed  *error // the cause, because nats.go drops the error of a refused connection
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	if custom := d.base.CustomDialer; custom != nil {
		return d.done(custom.Dial(network, address))
	}
	var n net.Dialer
	if d.base.Dialer != nil {
		n = *d.base.Dialer
	}
	n.Timeout = d.timeout
	if mp := d.base.AllowMultipathTCP; mp != nil {
		n.SetMultipathTCP(*mp)
	}
	return d.done(n.DialContext(d.ctx, network, address))
}

// InProcessConn implements nats.InProcessConnProvider.
func (d *dialer) InProcessConn() (net.Conn, error) {
	return d.done(d.base.InProcessServer.InProcessConn())
}

// SkipTLSHandshake returns the value of the caller's dialer.
func (d *dialer) SkipTLSHandshake() bool {
	s, ok := d.base.CustomDialer.(interface{ SkipTLSHandshake() bool })
	return ok && s.SkipTLSHandshake()
}

func (d *dialer) done(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		*d.failed = err
		return nil, err
	}
	if d.wrap != nil {
		c = d.wrap(c)
	}
	return c, nil
}

// handlers are callbacks of nats.go for one connection, called one after the other. leaving may be
// nil.
type handlers struct {
	failed  func(error) // an error from the server, or of nats.go
	leaving func()      // the server has announced that it shuts down
	closed  func()      // the connection is closed; the last call
}

// connect makes a connection to one server.
func (e *endpoints) connect(ctx context.Context, p endpoint, wrap func(net.Conn) net.Conn, call handlers) (*nats.Conn, error) {
	var failed error
	var made net.Conn
	settled := func() bool { return true }
	o := e.options(ctx, p, func(c net.Conn) net.Conn {
		if wrap != nil {
			c = wrap(c)
		}
		made = c
		settled = context.AfterFunc(ctx, func() { c.Close() }) // ends the handshake too
		return c
	}, &failed)
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { call.failed(err) }
	o.ClosedCB = func(*nats.Conn) { call.closed() }
	if call.leaving != nil {
		o.LameDuckModeHandler = func(*nats.Conn) { call.leaving() }
	}
	nc, err := o.Connect()
	settled()
	if err == nil {
		return nc, nil
	}
	if made != nil {
		made.Close()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if failed != nil && errors.Is(err, nats.ErrNoServers) {
		err = failed
	}
	return nil, fmt.Errorf("nats %s: %w", p.url.Host, typed(err))
}
