package brokertest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/crossroom/crossroom/broker"
)

// ballast is a large receiver.
type ballast struct {
	got chan string
	_   [1 << 20]byte
}

func (b *ballast) Deliver(_ broker.Channel, payload []byte) { b.got <- string(payload) }
func (b *ballast) Interrupted(error)                        {}
func (b *ballast) Resumed()                                 {}

// NothingKept tests that a broker releases everything of a closed subscription at once: its receiver, and the names of
// its channels. The broker does nothing else afterwards. from is another broker on the same system.
func NothingKept(t *testing.T, b, from broker.Broker) {
	const n = 20
	type traces struct {
		receiver weak.Pointer[ballast]
		ns, room weak.Pointer[byte]
	}
	var left []traces
	func() {
		var subs []broker.Subscription
		for i := range n {
			// The names are parts of a large payload. Keeping them would keep the payload.
			payload := fmt.Sprintf("/namespace-%03d-%s", i, strings.Repeat("x", 1<<20))
			other := fmt.Sprintf("room-%03d-%s", i, strings.Repeat("y", 1<<20))
			ns, room := payload[:100], other[:100]
			r := &ballast{got: make(chan string, 1)}
			subs = append(subs, Subscribe(t, b, r, broker.Native.EveryRoom(ns),
				broker.Exactly(broker.Native.Requests(ns)), broker.Exactly(broker.Native.Room(ns, room))))
			for _, ch := range []broker.Channel{broker.Native.Broadcast(ns), broker.Native.Room(ns, room), broker.Native.Requests(ns)} {
				for _, by := range []broker.Broker{b, from} {
					Publish(t, by, ch, "hello")
					select {
					case <-r.got:
					case <-time.After(Patience):
						t.Fatalf("no message on %.40v", ch)
					}
				}
			}
			Publish(t, b, broker.Native.NodeResponses(ns, room), "for no receiver")
			left = append(left, traces{weak.Make(r), weak.Make(unsafe.StringData(payload)), weak.Make(unsafe.StringData(other))})
		}
		Flush(t, b)
		Flush(t, from)
		for _, sub := range subs {
			if err := sub.Close(Within(t, Patience)); err != nil {
				t.Fatal(err)
			}
		}
	}()
	Eventually(t, func() error {
		runtime.GC()
		var errs []error
		for i, l := range left {
			if l.receiver.Value() != nil {
				errs = append(errs, fmt.Errorf("the receiver of subscription %d is reachable", i))
			}
			if l.ns.Value() != nil || l.room.Value() != nil {
				errs = append(errs, fmt.Errorf("the payload that holds the names of subscription %d is reachable", i))
			}
		}
		return errors.Join(errs...)
	})
}
