package natsbroker

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
)

// TestRoutesAreBounded: subjects that other programs publish to under a wildcard are cached up to a number.
func TestRoutesAreBounded(t *testing.T) {
	var s subscriber
	s.routes.Store(&routes{})
	for i := range 2 * routesKept {
		s.route(nil, &nats.Msg{Subject: strconv.Itoa(i)}, &frame{})
	}
	got := len(s.routes.Load().by)
	assert.NotZero(t, got, "cached subjects")
	assert.LessOrEqual(t, got, routesKept, "cached subjects")
}
