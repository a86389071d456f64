package redisbroker

import (
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/broker"
)

// TestRoutesAreBounded: what others publish under a pattern of ours is remembered up to a
// number and a length.
func TestRoutesAreBounded(t *testing.T) {
	n, err := newNaming("prefix")
	if err != nil {
		t.Fatal(err)
	}
	var opts *Options
	o := opts.withDefaults()
	s := newSubscriber(nil, n, &o)
	_, pattern := n.subscription(broker.Native.EveryRoom("/"))
	if !pattern {
		t.Fatal("EveryRoom is no pattern")
	}
	f := &frame{kind: framePMessage}
	for i := range 2 * routesKept {
		f.name = fmt.Appendf(f.name[:0], "%d", i)
		s.route(f)
	}
	if got := len(s.routes.Load().patterned); got == 0 || got > routesKept {
		t.Errorf("%d names are remembered", got)
	}
	clear(s.routes.Load().patterned)
	f.name = make([]byte, readBuffer-2)
	if s.route(f); len(s.routes.Load().patterned) > 0 {
		t.Errorf("a name of %d bytes is remembered", len(f.name))
	}
}
