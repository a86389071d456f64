package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
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
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
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

// shutDown ends a node in order, within 10 s.
func shutDown(web *http.Server, chat *adapter.Namespace, b broker.Broker) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(
		web.Shutdown(ctx),                         // 1. accept no more clients
		chat.Local().DisconnectSockets(ctx, true), // 2. disconnect those of this node
		chat.Server().Close(ctx),                  // 3. say goodbye: no node waits for this one
		b.Close(ctx),                              // 4. send what is queued, then disconnect
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
	fmt.Println(shutDown(&http.Server{}, chat, b), "with", chat.Len(), "sockets")
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

// permissions are the lines of the operations guide's block of that name.
func permissions(t *testing.T, block string) string {
	text, err := os.ReadFile("../../docs/guides/operations.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```" + block + "\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, found, "no block %s", block)
	return string(found[1])
}

// Two nodes with the guide's permissions can do everything, and nothing is reported.
func nodesWork(t *testing.T, open func() (broker.Broker, error)) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	chats := map[string]*adapter.Namespace{}
	for _, name := range []string{"north", "south"} {
		b, err := open()
		require.NoError(t, err)
		a, err := newApp(ctx, b, adapter.Options{Name: name})
		require.NoError(t, err)
		chats[name] = a.chat
		defer func() {
			assert.NoError(t, errors.Join(a.server.Close(ctx), b.Close(ctx)))
			assert.Empty(t, a.errs, "reported by %s", name)
		}()
	}
	bob := newInbox("bob")
	require.NoError(t, chats["south"].Add(ctx, bob))
	require.NoError(t, chats["north"].Join(ctx, "bob", "lobby"))
	require.NoError(t, chats["north"].To("lobby").Emit(ctx, "hello"))
	assert.Equal(t, "hello", <-bob.events)
	sockets, err := chats["north"].FetchSockets(ctx)
	require.NoError(t, err)
	assert.Len(t, sockets.List, 1)
	n, err := chats["north"].ServerCount(ctx)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
}

func TestPermissionsOnRedis(t *testing.T) {
	rules := strings.Join(strings.Fields(permissions(t, "redis-acl")), " ")
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{strings.TrimPrefix(rules, "user ")}})
	nodesWork(t, func() (broker.Broker, error) { return redisbroker.Open("redis://node:secret@"+srv.Addr(), nil) })
}

func TestPermissionsOnNATS(t *testing.T) {
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: permissions(t, "nats-conf")})
	nodesWork(t, func() (broker.Broker, error) { return natsbroker.Open("nats://node:secret@"+srv.Addr(), nil) })
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
