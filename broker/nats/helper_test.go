package natsbroker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
)

// Short names for the helpers that all brokers' tests share.
const patience = brokertest.Patience

type recorder = brokertest.Recorder

var (
	within, closeLater, eventually = brokertest.Within, brokertest.CloseLater, brokertest.Eventually
	subscribe, publish, flush      = brokertest.Subscribe, brokertest.Publish, brokertest.Flush
	record, newGate                = brokertest.Record, brokertest.NewGate
	watchLosses, balanced          = brokertest.WatchLosses, brokertest.Balanced
)

// quick returns options with which the broker notices outages soon.
func quick() *natsbroker.Options {
	return &natsbroker.Options{
		ProbeInterval: 200 * time.Millisecond,
		ProbeTimeout:  1500 * time.Millisecond, // a busy machine is not a dead server
		BackoffMin:    5 * time.Millisecond,
		BackoffMax:    50 * time.Millisecond,
	}
}

// open makes a broker and closes it at the end of the test.
func open(t testing.TB, url string, opts *natsbroker.Options) *natsbroker.Broker {
	t.Helper()
	b, err := natsbroker.Open(url, opts)
	require.NoError(t, err)
	closeLater(t, b)
	return b
}
