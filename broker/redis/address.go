package redisbroker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker/internal/address"
)

// AddressError reports why an address cannot be used. It contains no part of the address, because an unescaped user or
// password may be anywhere in it.
type AddressError struct{ Reason string }

func (e *AddressError) Error() string {
	return "redis broker: open: address (not shown, it may hold a password): " + e.Reason
}

func refuse(reason string) error { return &AddressError{reason} }

// openClient makes a client from an address. Its errors, and what may be printed of the client later, have nothing of an
// address that could be part of a password.
func openClient(s string) (redis.UniversalClient, error) {
	if s == "" { // as from a variable that is not set: hardly meant for localhost
		return nil, refuse("empty")
	}
	a, err := address.Parse(s)
	if err != nil {
		return nil, refuse(err.Error())
	}
	scheme, form, _ := strings.Cut(a.Scheme, "+")
	if scheme == "" {
		scheme = "redis"
	}
	if form != "" && form != "sentinel" && form != "cluster" || scheme != "redis" && scheme != "rediss" && (scheme != "unix" || form != "") {
		return nil, refuse("the scheme is not redis, rediss or unix, or one of the first two with +sentinel or +cluster")
	}
	names := []string{"client_name"}
	if form == "sentinel" {
		names = append(names, "sentinel_username", "sentinel_password")
	}
	if scheme == "rediss" {
		names = append(names, address.TLSNames...)
	}
	if a.Query.Has("db") {
		return nil, refuse(hasDatabase)
	}
	if err := address.Allow(a.Query, names...); err != nil {
		return nil, refuse(err.Error())
	}
	config, err := address.TLS(a.Query)
	if err != nil {
		return nil, refuse(err.Error())
	}
	if scheme == "rediss" && config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	switch {
	case scheme == "unix":
		return unixClient(a)
	case form == "sentinel":
		return sentinelClient(a, config)
	case form == "cluster":
		return clusterClient(a, config)
	}
	return singleClient(a, config)
}

const hasDatabase = "it has a database, which pub/sub ignores: fleets on one server are separated by Options.Prefix"

func unixClient(a *address.Address) (redis.UniversalClient, error) {
	if a.Path == "" || len(a.Hosts) != 1 || a.Hosts[0] != "" {
		return nil, refuse("not of the form unix:///path/of/socket")
	}
	return redis.NewClient(&redis.Options{
		Network: "unix", Addr: a.Path, Username: a.User, Password: a.Password, ClientName: a.Query.Get("client_name"),
	}), nil
}

func singleClient(a *address.Address, config *tls.Config) (redis.UniversalClient, error) {
	if len(a.Hosts) > 1 {
		return nil, refuse("more than one host: that is redis+sentinel://host,host/master or redis+cluster://host,host")
	}
	addrs, err := hosts(a, "6379")
	if err == nil {
		err = noDatabase(a)
	}
	if err != nil {
		return nil, err
	}
	opts := &redis.Options{Addr: addrs[0], Username: a.User, Password: a.Password, ClientName: a.Query.Get("client_name"), TLSConfig: config}
	if config != nil {
		opts.Dialer = dialerOf(config, 0)
	}
	return redis.NewClient(opts), nil
}

func sentinelClient(a *address.Address, config *tls.Config) (redis.UniversalClient, error) {
	addrs, err := hosts(a, "26379")
	if err != nil {
		return nil, err
	}
	master := strings.TrimPrefix(a.Path, "/")
	if master == "" || strings.Contains(master, "/") {
		return nil, refuse("not of the form redis+sentinel://host:26379,host:26379/name-of-the-master")
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: master, SentinelAddrs: addrs, Username: a.User, Password: a.Password, ClientName: a.Query.Get("client_name"),
		SentinelUsername: a.Query.Get("sentinel_username"), SentinelPassword: a.Query.Get("sentinel_password"), TLSConfig: config,
	}), nil
}

func clusterClient(a *address.Address, config *tls.Config) (redis.UniversalClient, error) {
	addrs, err := hosts(a, "6379")
	if err == nil {
		err = noDatabase(a)
	}
	if err != nil {
		return nil, err
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, Username: a.User, Password: a.Password, ClientName: a.Query.Get("client_name"), TLSConfig: config,
	}), nil
}

// hosts returns the hosts of an address with their ports.
func hosts(a *address.Address, port string) ([]string, error) {
	addrs := make([]string, len(a.Hosts))
	for i, h := range a.Hosts {
		var err error
		if addrs[i], err = address.HostPort(h, port); err != nil {
			return nil, refuse(fmt.Sprintf("host %d: %s", i+1, err))
		}
	}
	return addrs, nil
}

// noDatabase refuses a path, except that of the database which every connection begins with.
func noDatabase(a *address.Address) error {
	path := strings.TrimPrefix(a.Path, "/")
	switch {
	case path == "", path == "0":
		return nil
	case strings.Trim(path, "0123456789") == "":
		return refuse(hasDatabase)
	}
	return refuse("something follows the host")
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
