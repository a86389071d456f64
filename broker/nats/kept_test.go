package natsbroker_test

import (
	"testing"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestNothingKept: closed subscriptions leave no memory in use.
func TestNothingKept(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	brokertest.NothingKept(t, open(t, srv.URL(), quick()), open(t, srv.URL(), quick()))
}
