package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// open opens a namespace, and tries again until the broker's server responds or ctx ends.
func open(ctx context.Context, server *adapter.Server, name string) (*adapter.Namespace, error) {
	for {
		ns, err := server.Of(ctx, name)
		var bad *backplane.NameError
		if err == nil || errors.As(err, &bad) || errors.Is(err, backplane.ErrClosed) {
			return ns, err
		}
		log.Printf("no broker yet: %v", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// signed makes a server of a fleet that signs. The first secret signs; all verify.
func signed(b broker.Broker, secrets ...[]byte) (*adapter.Server, *backplane.Keyring, error) {
	keys, err := backplane.NewKeyring(secrets...)
	if err != nil {
		return nil, nil, err
	}
	server, err := adapter.New(b, &adapter.Options{Keys: keys})
	return server, keys, err
}

// readyz is a readiness probe: whether this node reaches its fleet. Do not use it as a liveness probe.
func readyz(server *adapter.Server) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h := server.Health(); !h.Ready {
			report := fmt.Sprintf("receives: %v, publishes: %v (%v)", h.Subscribed.Up, h.Publishing.Up, h.Publishing.Err)
			http.Error(w, report, http.StatusServiceUnavailable)
		}
	}
}

// shutDown takes a node out of its fleet, within a minute.
func shutDown(web *http.Server, server *adapter.Server, b broker.Broker) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(
		// 1. Be unready, disconnect 100 clients in a second, say goodbye: no node waits for this one.
		server.Drain(ctx, 100, func(_ *adapter.Namespace, s adapter.Socket) { s.Disconnect(true) }),
		web.Shutdown(ctx), // 2. accept no more clients
		b.Close(ctx),      // 3. send what is queued, then disconnect
	)
}

func Example_operations() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b := memorybroker.NewBus(nil).Broker()
	server, err := adapter.New(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	chat, err := open(ctx, server, "/chat")
	if err != nil {
		log.Fatal(err)
	}
	if err := server.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	ada := guest{"ada", chat}
	if err := chat.Add(ctx, ada); err != nil {
		log.Fatal(err)
	}
	status := func() int {
		w := httptest.NewRecorder()
		readyz(server)(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code
	}
	fmt.Println("connected:", status())
	memorytest.Cut(b, errors.New("the cable is out"))
	for status() == http.StatusOK {
		time.Sleep(time.Millisecond) // the report is on its way
	}
	fmt.Println("cut off:", status())
	memorytest.Heal(b)
	fmt.Println(shutDown(&http.Server{}, server, b), "with", chat.Len(), "sockets")
	// Output:
	// connected: 200
	// cut off: 503
	// <nil> with 0 sockets
}

// limited is a broker of which little waits while the server is away.
func limited(address string) (*redisbroker.Broker, error) {
	return redisbroker.Open(address, &redisbroker.Options{
		QueueMessages: 10_000,
		QueueBytes:    8 << 20,
		QueueAge:      5 * time.Second, // older events are of no use to clients
	})
}

func TestLimitedQueue(t *testing.T) {
	b, err := limited("redis://localhost:6379") // no I/O
	require.NoError(t, err)
	require.NoError(t, b.Close(t.Context()))
}

// Two servers with the key reach each other, a third with another key reaches neither.
func TestSignedServers(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	var spaces []*adapter.Namespace
	for _, secret := range []string{"a", "a", "b"} {
		b := bus.Broker()
		server, keys, err := signed(b, []byte(strings.Repeat(secret, 32)))
		require.NoError(t, err)
		require.Len(t, keys.IDs(), 1)
		t.Cleanup(func() {
			assert.NoError(t, errors.Join(server.Close(context.Background()), b.Close(context.Background())))
		})
		ns, err := server.Of(t.Context(), "/chat")
		require.NoError(t, err)
		spaces = append(spaces, ns)
	}
	require.Eventually(t, func() bool { return len(spaces[0].Server().KnownPeers()) == 1 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, spaces[1].Server().UID(), spaces[0].Server().KnownPeers()[0].ID)
	require.Eventually(t, func() bool { return spaces[2].Server().Stats().Links[0].Unverified > 0 }, 10*time.Second, time.Millisecond)
	assert.Empty(t, spaces[2].Server().KnownPeers())
	_, _, err := signed(bus.Broker(), []byte("short"))
	require.Error(t, err)
}
