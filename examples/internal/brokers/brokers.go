// Package brokers opens the brokers of an example by an address from its command line.
package brokers

import (
	"context"
	"errors"
	"strings"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// Open opens n brokers on one system, one for each node. The address is "memory", for nodes in this process, a URL of
// Redis (redis://host:port, rediss://, unix://) or of NATS (nats://host:port, tls://; several separated by commas).
// prefix is the prefix of the channel names; empty means the broker's default. It has no effect in memory.
//
// Open does no I/O. The caller closes the brokers. It returns ErrScheme, or the error of the broker's own Open.
func Open(address, prefix string, n int) ([]broker.Broker, error) {
	open, err := opener(address, prefix)
	if err != nil {
		return nil, err
	}
	var all []broker.Broker
	for range n {
		b, err := open()
		if err != nil {
			for _, b := range all {
				err = errors.Join(err, b.Close(context.Background())) // no message was sent, so it returns at once
			}
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func opener(address, prefix string) (func() (broker.Broker, error), error) {
	if address == "memory" {
		bus := memorybroker.NewBus(nil)
		return func() (broker.Broker, error) { return bus.Broker(), nil }, nil
	}
	scheme, _, isURL := strings.Cut(address, "://")
	switch {
	case !isURL:
	case scheme == "redis", scheme == "rediss", scheme == "unix":
		return func() (broker.Broker, error) {
			return redisbroker.Open(address, &redisbroker.Options{Prefix: prefix})
		}, nil
	case scheme == "nats", scheme == "tls":
		return func() (broker.Broker, error) {
			return natsbroker.Open(address, &natsbroker.Options{Prefix: prefix})
		}, nil
	}
	return nil, ErrScheme
}

// ErrScheme reports an address that belongs to no broker. It has no part of the address, which may contain a password
// anywhere.
var ErrScheme = errors.New("no broker for this address: want memory, redis://host:port or nats://host:port")
