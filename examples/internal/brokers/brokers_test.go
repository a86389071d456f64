package brokers_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/examples/internal/brokers"
	"github.com/crossroom/crossroom/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func closed(t *testing.T, all []broker.Broker) {
	t.Helper()
	for _, b := range all {
		assert.NoError(t, b.Close(t.Context()))
	}
}

// Each address opens the right broker, as many as requested, without a connection.
func TestOpen(t *testing.T) {
	for address, is := range map[string]func(broker.Broker) bool{
		"memory":                  func(b broker.Broker) bool { _, ok := b.(*memorybroker.Broker); return ok },
		"redis://127.0.0.1:1":     func(b broker.Broker) bool { _, ok := b.(*redisbroker.Broker); return ok },
		"rediss://127.0.0.1:1":    func(b broker.Broker) bool { _, ok := b.(*redisbroker.Broker); return ok },
		"unix:///nowhere":         func(b broker.Broker) bool { _, ok := b.(*redisbroker.Broker); return ok },
		"nats://127.0.0.1:1":      func(b broker.Broker) bool { _, ok := b.(*natsbroker.Broker); return ok },
		"tls://a:4222,tls://b:42": func(b broker.Broker) bool { _, ok := b.(*natsbroker.Broker); return ok },
	} {
		all, err := brokers.Open(address, "some", 3)
		if err != nil || len(all) != 3 || all[0] == all[1] || slices.ContainsFunc(all, func(b broker.Broker) bool { return !is(b) }) {
			t.Errorf("%s: %T, %v", address, all, err)
		}
		closed(t, all)
	}
}

// Brokers in memory share one bus: nodes receive each other's messages.
func TestMemory(t *testing.T) {
	all, err := brokers.Open("memory", "", 2)
	require.NoError(t, err)
	var spaces []*adapter.Namespace
	for _, b := range all {
		server, err := adapter.New(b, nil)
		require.NoError(t, err)
		defer closed(t, []broker.Broker{b})
		defer server.Close(t.Context())
		ns, err := server.Of(t.Context(), "/")
		require.NoError(t, err)
		spaces = append(spaces, ns)
	}
	n, err := spaces[0].ServerCount(t.Context())
	assert.Equal(t, 2, n)
	assert.NoError(t, err)
}

// Any other address is ErrScheme, without passwords.
func TestUnknownScheme(t *testing.T) {
	for _, address := range []string{"", "redis", "localhost:6379", "amqp://me:secret@host", "me:secret@host", "secret://host", "://"} {
		all, err := brokers.Open(address, "", 1)
		if !errors.Is(err, brokers.ErrScheme) || all != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", address, all, err)
		}
	}
}

// A broker's own errors are returned unchanged.
func TestRefused(t *testing.T) {
	var prefix *redisbroker.PrefixError
	all, err := brokers.Open("redis://127.0.0.1:1", "a#b", 2)
	require.ErrorAs(t, err, &prefix)
	assert.Nil(t, all)
	var subject *natsbroker.PrefixError
	all, err = brokers.Open("nats://127.0.0.1:1", "a b", 2)
	require.ErrorAs(t, err, &subject)
	assert.Nil(t, all)
	var address *natsbroker.AddressError
	all, err = brokers.Open("nats://", "", 2)
	require.ErrorAs(t, err, &address)
	assert.Nil(t, all)
	all, err = brokers.Open("redis://host/not-a-number", "", 2)
	assert.Error(t, err)
	assert.Nil(t, all)
}
