package hubtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/hub"
)

// Glue makes a handler of a hub, such as coderws.Handler.
type Glue func(h *hub.Hub) http.Handler

// Server is a hub behind a web server.
type Server struct {
	Hub *hub.Hub
	URL string
}

// Start starts servers of one fleet, whose clients name their user and rooms in the query, and stops them with the
// test.
func Start(t testing.TB, n int, opts hub.Options, glue Glue) []*Server {
	t.Helper()
	bus := memorybroker.NewBus(nil)
	list := make([]*Server, n)
	if opts.Authenticate == nil {
		opts.Authenticate = ByQuery
	}
	for i := range list {
		b := bus.Broker()
		node, err := backplane.New(b, nil)
		require.NoError(t, err)
		h, err := hub.New(t.Context(), node, "hub", &opts)
		require.NoError(t, err)
		web := httptest.NewServer(glue(h))
		list[i] = &Server{h, web.URL}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			require.NoError(t, h.Close(ctx))
			web.Close()
			require.NoError(t, node.Close(ctx))
			require.NoError(t, b.Close(ctx))
		})
	}
	return list
}

// ByQuery authenticates by the query: user, and room any number of times.
func ByQuery(r *http.Request) (hub.Identity, error) {
	q := r.URL.Query()
	return hub.Identity{User: q.Get("user"), Rooms: q["room"], Value: q.Get("value")}, nil
}

// Until waits until a condition holds.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
