package backplane_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// A process accepts clients when its node is ready. The probe of a load balancer looks at Health.
func ExampleNode_Ready() {
	ctx := context.Background()
	b := memorybroker.New(nil)
	node, err := backplane.New(b, nil)
	try(err)
	ready := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if h := node.Health(); !h.Ready {
			http.Error(w, fmt.Sprint("receives: ", h.Subscribed.Up, ", publishes: ", h.Publishing.Up), http.StatusServiceUnavailable)
		}
	})
	probe := func() {
		w := httptest.NewRecorder()
		ready(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		fmt.Println(w.Code, w.Body)
	}
	probe()

	_, err = node.Namespace(ctx, "game", nil)
	try(err)
	starting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	try(node.Ready(starting))
	probe()

	try(node.Close(ctx))
	try(b.Close(ctx))
	// Output:
	// 503 receives: false, publishes: false
	//
	// 200
}
