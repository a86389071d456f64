package guides_test

import (
	"context"
	"errors"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/servers"
)

// recipe returns the lines of the operations guide's block of that name.
func recipe(t *testing.T, block string) string {
	text, err := os.ReadFile("../../docs/guides/operations.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```" + block + "\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, found, "no block %s", block)
	return string(found[1])
}

// login makes a broker as a user of a recipe.
type login func(user, prefix string) (broker.Broker, error)

// places are the systems on which the recipes are tried. A place starts a system with the users of some blocks.
var places = map[string]func(t *testing.T, blocks ...string) login{
	"redis":                  redisServer(false),
	"redis, sharded":         redisServer(true),
	"redis cluster":          redisCluster(false),
	"redis cluster, sharded": redisCluster(true),
	"nats": func(t *testing.T, blocks ...string) login {
		srv := servers.StartNATS(t, &servers.NATSOptions{Config: configuration(t, blocks)})
		return func(user, prefix string) (broker.Broker, error) {
			return natsbroker.Open("nats://"+user+":secret@"+srv.Addr(), nil) // an account needs no prefix
		}
	},
	"nats cluster": func(t *testing.T, blocks ...string) login {
		cluster := servers.StartNATSCluster(t, &servers.NATSOptions{Config: configuration(t, blocks)})
		return func(user, prefix string) (broker.Broker, error) {
			return natsbroker.Open(strings.ReplaceAll(cluster.URLs(), "nats://", "nats://"+user+":secret@"), nil)
		}
	},
}

func redisServer(sharded bool) func(t *testing.T, blocks ...string) login {
	return func(t *testing.T, blocks ...string) login {
		srv := servers.StartRedis(t, nil)
		setUsers(t, srv, "", blocks, sharded)
		return func(user, prefix string) (broker.Broker, error) {
			return redisbroker.Open("redis://"+user+":secret@"+srv.Addr(), &redisbroker.Options{Prefix: prefix, Sharded: sharded})
		}
	}
}

func redisCluster(sharded bool) func(t *testing.T, blocks ...string) login {
	return func(t *testing.T, blocks ...string) login {
		cluster := servers.StartRedisCluster(t)
		for _, srv := range cluster.Nodes {
			setUsers(t, srv, recipe(t, "redis-acl-cluster"), blocks, sharded)
		}
		return func(user, prefix string) (broker.Broker, error) {
			address := "redis+cluster://" + user + ":secret@" + strings.Join(cluster.Addrs(), ",")
			return redisbroker.Open(address, &redisbroker.Options{Prefix: prefix, Sharded: sharded})
		}
	}
}

// setUsers makes the users of blocks on a Redis server. more are rules for each of them.
func setUsers(t *testing.T, srv *servers.Redis, more string, blocks []string, sharded bool) {
	for _, block := range blocks {
		if sharded {
			block = "-sharded" + block
		}
		for user := range strings.SplitSeq(recipe(t, "redis-acl"+block), "user ") {
			if rules := strings.Fields(user + " " + more); strings.TrimSpace(user) != "" {
				srv.Do(append([]string{"ACL", "SETUSER"}, rules...)...)
			}
		}
	}
}

// configuration returns the configuration of a nats-server with the users of blocks.
func configuration(t *testing.T, blocks []string) string {
	var users []string
	for _, block := range blocks {
		text := recipe(t, "nats-conf"+block)
		if list, is := strings.CutPrefix(strings.TrimSpace(text), "authorization { users: ["); is {
			users = append(users, strings.TrimSuffix(list, "] }"))
		} else {
			return text
		}
	}
	return "authorization { users: [" + strings.Join(users, ",") + "] }"
}

// everywhere runs a test on all systems.
func everywhere(t *testing.T, blocks []string, test func(t *testing.T, as login)) {
	for name, start := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, blocks...))
		})
	}
}

// nodesWork starts two nodes, which can do everything. Until the test's end nothing may be reported.
func nodesWork(t *testing.T, open func() (broker.Broker, error)) (north, south *adapter.Namespace, bob *inbox) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	chats := map[string]*adapter.Namespace{}
	for _, name := range []string{"north", "south"} {
		b, err := open()
		require.NoError(t, err)
		a, err := newApp(ctx, b, adapter.Options{Name: name})
		require.NoError(t, err)
		chats[name] = a.chat
		t.Cleanup(func() {
			assert.NoError(t, errors.Join(a.server.Close(ctx), b.Close(ctx)))
			assert.Empty(t, a.errs, "reported by %s", name)
		})
	}
	north, south, bob = chats["north"], chats["south"], newInbox("bob")
	require.NoError(t, south.Add(ctx, bob))
	require.NoError(t, north.Join(ctx, "bob", "lobby"))
	require.NoError(t, north.To("lobby").Emit(ctx, "hello"))
	assert.Equal(t, "hello", <-bob.events)
	sockets, err := north.All().FetchSockets(ctx)
	require.NoError(t, err)
	assert.Len(t, sockets.List, 1)
	n, err := north.ServerCount(ctx)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	return north, south, bob
}

// refused checks that a user can neither hear nor send on channels.
func refused(t *testing.T, as login, user, prefix string, publish bool, channels ...broker.Channel) {
	b, err := as(user, prefix)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	defer b.Close(ctx)
	for _, ch := range channels {
		_, err := b.Subscribe(ctx, ignores{}, broker.Exactly(ch))
		assert.Error(t, err, "%s subscribes to %v", user, ch)
		assert.NoError(t, ctx.Err())
		if publish {
			continue
		}
		require.NoError(t, b.Publish(ctx, ch, []byte("x")))
		var loss *broker.LossError
		assert.ErrorAs(t, b.Flush(ctx), &loss, "%s publishes on %v", user, ch)
	}
}

// ignores is a receiver.
type ignores struct{}

func (ignores) Deliver(broker.Channel, []byte) {}
func (ignores) Interrupted(error)              {}
func (ignores) Resumed()                       {}

func TestPermissionsOfNodes(t *testing.T) {
	everywhere(t, []string{""}, func(t *testing.T, as login) {
		nodesWork(t, func() (broker.Broker, error) { return as("node", "") })
		w := broker.SocketIO
		refused(t, as, "node", "", false, w.Room("/admin", "r"), w.Requests("/admin"), w.Responses("/admin"))
	})
}

func TestPermissionsOfEmitters(t *testing.T) {
	everywhere(t, []string{"", "-emitter"}, func(t *testing.T, as login) {
		_, south, bob := nodesWork(t, func() (broker.Broker, error) { return as("node", "") })
		b, err := as("emitter", "")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		defer b.Close(ctx)
		e, err := adapter.NewEmitter(b, &adapter.EmitterOptions{Namespace: "/chat"})
		require.NoError(t, err)
		require.NoError(t, e.To("lobby").Emit(ctx, "news"))
		assert.Equal(t, "news", <-bob.events)
		require.NoError(t, e.To("lobby").SocketsJoin(ctx, "more"))
		require.NoError(t, b.Flush(ctx))
		require.Eventually(t, func() bool {
			rooms, _ := south.LocalRoomsOf("bob")
			return len(rooms) == 3
		}, 20*time.Second, time.Millisecond)
		w := broker.SocketIO
		refused(t, as, "emitter", "", true, w.Room("/chat", "lobby"), w.Requests("/chat"))
		refused(t, as, "emitter", "", false, w.Responses("/chat"), w.NodeResponses("/chat", "x"), broker.Control(), broker.NodeControl("x"), w.Broadcast("/admin"))
	})
}

func TestPermissionsOfTenants(t *testing.T) {
	everywhere(t, []string{"-tenants"}, func(t *testing.T, as login) {
		for _, tenant := range []string{"shop", "forum"} {
			nodesWork(t, func() (broker.Broker, error) { return as(tenant, tenant) }) // each counts two servers
		}
		if !strings.Contains(t.Name(), "redis") {
			return // nothing that one may name belongs to another account
		}
		w := broker.SocketIO
		refused(t, as, "shop", "forum", false, w.Room("/chat", "lobby"), w.Requests("/chat"), w.Responses("/chat"), broker.Control())
	})
}

// goodbye is a forged frame.
func goodbye(id string, since int64) []byte {
	b := msgpack.AppendArrayLen(nil, 6)
	b = msgpack.AppendInt(msgpack.AppendInt(b, 1), 5)
	b = msgpack.AppendInt(msgpack.AppendString(b, id), since)
	return msgpack.AppendNil(msgpack.AppendInt(b, 0))
}

// forgeGoodbyes publishes forged goodbyes of all nodes that it hears on the control channel, until the function that it returns
// is called: of the latest possible life of each, and of exactly the one that it has.
func forgeGoodbyes(t *testing.T, client *redis.Client) (stop func() (forged int)) {
	const control = "crossroom-control#"
	ctx, cancel := context.WithCancel(context.Background())
	sub := client.Subscribe(ctx, control)
	_, err := sub.Receive(ctx)
	require.NoError(t, err)
	var mu sync.Mutex
	lives := map[string]int64{}
	var both sync.WaitGroup
	both.Go(func() {
		for m := range sub.Channel() {
			v, _ := msgpack.Decode([]byte(m.Payload))
			if f, _ := v.([]any); len(f) > 3 {
				id, _ := f[2].(string)
				if since, is := f[3].(int64); is && since < math.MaxInt64 {
					mu.Lock()
					lives[id] = since
					mu.Unlock()
				}
			}
		}
	})
	forged := 0
	both.Go(func() {
		for ctx.Err() == nil {
			mu.Lock()
			for id, since := range lives {
				for _, since := range []int64{since, math.MaxInt64} {
					if client.Publish(ctx, control, goodbye(id, since)).Err() == nil {
						forged++
					}
				}
			}
			mu.Unlock()
			select {
			case <-time.After(50 * time.Millisecond): // the load: 20 rounds a second
			case <-ctx.Done():
			}
		}
	})
	return func() int {
		cancel()
		sub.Close()
		both.Wait()
		return forged
	}
}

// TestForgedGoodbyes: a user who may only use /guest and the control channel says goodbye in the name of all nodes.
// Lists of the members of /admin are complete or say that they are not, and so are disconnects.
func TestForgedGoodbyes(t *testing.T) {
	srv := servers.StartRedis(t, nil)
	srv.Do(strings.Fields("ACL SETUSER guest on >secret resetchannels &socket.io#/guest#* &crossroom-control#* " +
		"-@all +hello +client +ping +publish +subscribe +unsubscribe")...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var admin []*adapter.Namespace
	for _, name := range []string{"a", "b", "c"} {
		b, err := redisbroker.Open(srv.URL(), nil)
		require.NoError(t, err)
		server, err := adapter.New(b, &adapter.Options{Name: name, OnError: func(error) {}})
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, errors.Join(server.Close(context.Background()), b.Close(context.Background())))
		})
		ns, err := server.Of(ctx, "/admin")
		require.NoError(t, err)
		require.NoError(t, ns.Add(ctx, newInbox("of "+name)))
		admin = append(admin, ns)
	}
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Username: "guest", Password: "secret"})
	defer client.Close()
	require.Error(t, client.Publish(ctx, "socket.io#/admin#", "x").Err(), "the guest may publish in /admin")
	stop := forgeGoodbyes(t, client)
	asked, partial, wrong := 0, 0, 0
	for began := time.Now(); time.Since(began) < 4*time.Second; asked++ {
		found, err := admin[0].All().FetchSockets(ctx)
		var incomplete *backplane.PartialError
		switch {
		case err == nil && len(found.List) != len(admin):
			wrong++
		case errors.As(err, &incomplete):
			partial++
		default:
			require.NoError(t, err)
		}
		// A socket of another server: no answer may say that it does not exist.
		if _, err := admin[0].ClientRooms(ctx, "of b"); err != nil && !errors.As(err, &incomplete) {
			wrong++
		}
	}
	t.Logf("%d forged goodbyes: of %d lists and as many look-ups %d were wrong, %d of the lists partial", stop(), asked, wrong, partial)
	assert.Zero(t, wrong)
	require.Eventually(t, func() bool { // as soon as it stops
		found, err := admin[0].All().FetchSockets(ctx)
		return err == nil && len(found.List) == len(admin)
	}, 30*time.Second, 10*time.Millisecond)
}
