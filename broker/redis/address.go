package redisbroker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// openClient makes a client from a URL or from a plain host and port. Any part of a malformed
// address may belong to a password. Therefore neither the errors nor the client's printed form
// contain a part of such an address.
func openClient(address string) (*redis.Client, error) {
	if address == "" { // as from an unset variable; it hardly means localhost
		return nil, errors.New("redis broker: open: the address is empty")
	}
	opts, err := parseAddress(address)
	if err != nil {
		return nil, fmt.Errorf("redis broker: open: address (not shown, it may hold a password): %w", err)
	}
	if config := opts.TLSConfig; config != nil {
		opts.Dialer = dialerOf(config, opts.DialTimeout)
	}
	return redis.NewClient(opts), nil
}

// dialerOf returns a dialer that respects its context also during a TLS handshake, which
// go-redis' own dialer does not. config is nil without TLS.
func dialerOf(config *tls.Config, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if config == nil {
		return d.DialContext
	}
	return (&tls.Dialer{Config: config, NetDialer: &d}).DialContext
}

var errEscape = errors.New("characters of user and password such as / ? # @ : % must be percent-encoded")

// parseAddress parses an address. Its errors describe the mistake without repeating any part
// of the address: an unescaped character moves the rest of a password into the path, the query
// or the port, and the part before it into the host.
func parseAddress(address string) (*redis.Options, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "redis", address
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "redis", "rediss", "unix":
	default:
		return nil, errors.New("the scheme is not redis, rediss or unix")
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.ContainsAny(tail, "@#") {
		return nil, fmt.Errorf("'@' or '#' after the host: %w", errEscape)
	}
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if i := strings.IndexFunc(host, func(r rune) bool { return !inHost(r) }); i >= 0 {
		if host[i] == ',' {
			return nil, errors.New("more than one host (New takes a client for a cluster or for Sentinel)")
		}
		return nil, fmt.Errorf("the host has a character that no host name contains: %w", errEscape)
	}
	opts, err := redis.ParseURL(scheme + "://" + rest)
	if err != nil {
		// The error of go-redis repeats parts of the address.
		path, _, _ := strings.Cut(tail, "?")
		if scheme != "unix" && strings.Trim(path, "/0123456789") != "" {
			return nil, errors.New("the path is not the number of a database")
		}
		return nil, fmt.Errorf("not redis://user:password@host:port/database?option=value, as go-redis reads it (%w)", errEscape)
	}
	return opts, nil
}

// inHost reports whether a host, with a port, may contain r.
func inHost(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r >= 0x80:
		return true
	}
	return strings.ContainsRune("-._:[]%", r) // % for the zone of an IPv6 address
}
