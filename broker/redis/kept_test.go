package redisbroker_test

import (
	"testing"

	"github.com/crossroom/crossroom/broker/internal/brokertest"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestNothingKept: closed subscriptions leave no memory in use.
func TestNothingKept(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	brokertest.NothingKept(t, open(t, srv.URL(), nil), open(t, srv.URL(), nil))
}
