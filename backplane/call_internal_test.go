package backplane

import (
	"testing"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// A node that introduced itself and answered while a request was under way is not
// reported as gone when the nodes are counted again before its claim is settled.
func TestRecountBeforeClaimsAreSettled(t *testing.T) {
	b := memorybroker.New(nil)
	n, err := New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := n.Namespace(t.Context(), "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = n.Close(t.Context())
		_ = b.Close(t.Context())
	}()
	c := newCall(ns, &wire.Request{Op: wire.OpMembers}, func(*wire.Response) bool { return false })
	c.counted, c.want = true, 3
	for _, id := range []string{"a", "b", "c"} {
		if !c.answer(&wire.Response{Node: id}) {
			t.Fatalf("the answer of %s is refused", id)
		}
	}
	c.recount(t.Context())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vanished != 0 || len(c.claims) != 3 {
		t.Errorf("%d nodes are reported as gone, %d claims are left", c.vanished, len(c.claims))
	}
}
