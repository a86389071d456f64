package redisbroker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

// TestRoutesAreBounded: names that other programs publish to under a pattern are cached up to a
// number and a length.
func TestRoutesAreBounded(t *testing.T) {
	n, err := newNaming("prefix")
	require.NoError(t, err)
	var opts *Options
	o := opts.withDefaults()
	s := newSubscriber(&nodes{}, n, &o)
	_, pattern := n.subscription(broker.Native.EveryRoom("/"))
	require.True(t, pattern, "EveryRoom is no pattern")
	f := &frame{kind: framePMessage}
	for i := range 2 * routesKept {
		f.name = fmt.Appendf(f.name[:0], "%d", i)
		s.route(s.reg.one, f)
	}
	got := len(s.reg.one.routes.Load().patterned)
	assert.NotZero(t, got, "cached names")
	assert.LessOrEqual(t, got, routesKept, "cached names")
	clear(s.reg.one.routes.Load().patterned)
	f.name = make([]byte, readBuffer-2)
	s.route(s.reg.one, f)
	assert.Empty(t, s.reg.one.routes.Load().patterned, "a name of %d bytes is cached", len(f.name))
}
