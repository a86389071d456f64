package redisbroker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

func TestOpenAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"localhost:6379", "redis://h", "rediss://u:p@h:1/0?client_name=c", "unix:///tmp/x.sock", "redis://[::1]:7"} {
		b, err := redisbroker.Open(address, nil)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if b.Prefix() != redisbroker.DefaultPrefix || b.PublishClient() == nil || b.SubscribeClient() != b.PublishClient() {
			t.Errorf("%s: prefix %q, clients %v and %v", address, b.Prefix(), b.PublishClient(), b.SubscribeClient())
		}
		assert.NoError(t, b.Close(context.Background()), "%s: Close of an unused broker", address)
	}
	for _, address := range []string{"http://h", "redis://u:secret@h:port", "redis://h/x", "redis://h/2", "redis://h?db=2", "redis://h?read_timeout=3s", "://", "redis://u:sec%ret@h"} {
		b, err := redisbroker.Open(address, nil)
		if err == nil {
			b.Close(context.Background())
			t.Errorf("%q: no error", address)
		} else if strings.Contains(err.Error(), "sec") {
			t.Errorf("%q: the error has the password: %v", address, err)
		}
	}
}

func TestRefusedClientsAndPrefixes(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	fine := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer fine.Close()
	var missing *redis.Client
	for _, c := range []struct{ publish, subscribe redis.UniversalClient }{
		{ring, nil}, {nil, nil}, {missing, nil}, {fine, ring}, {fine, missing}, {(*redis.ClusterClient)(nil), nil},
	} {
		var refused *redisbroker.ClientError
		_, err := redisbroker.New(c.publish, &redisbroker.Options{SubscribeClient: c.subscribe})
		assert.ErrorAs(t, err, &refused, "%T and %T", c.publish, c.subscribe)
	}
	var refused *redisbroker.PrefixError
	_, err := redisbroker.New(fine, &redisbroker.Options{Prefix: "a#b"})
	assert.ErrorAs(t, err, &refused, "prefix a#b")
	_, err = redisbroker.Open("localhost:1", &redisbroker.Options{Prefix: "x-request"})
	assert.ErrorAs(t, err, &refused, "prefix x-request")
}

// TestClientsStayOpen: the broker uses the caller's clients, of different users, and leaves
// them open when it is closed.
func TestClientsStayOpen(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{
		"writer on >w resetchannels &* -@all +publish +ping", "reader on >r resetchannels &* -@all +subscribe +unsubscribe +psubscribe +ping +pubsub +client",
	}})
	publisher := redis.NewClient(&redis.Options{Addr: srv.Addr(), Username: "writer", Password: "w"})
	defer publisher.Close()
	asked := 0
	subscriber := redis.NewClient(&redis.Options{Addr: srv.Addr(), ClientName: "ears",
		CredentialsProviderContext: func(context.Context) (string, string, error) { asked++; return "reader", "r", nil }})
	defer subscriber.Close()
	b, err := redisbroker.New(publisher, &redisbroker.Options{SubscribeClient: subscriber, Prefix: "app"})
	require.NoError(t, err)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "over two")
	r.Want(room, "over two")
	counts, err := b.Subscribers(within(t, patience), room)
	require.NoError(t, err, "Subscribers: %v", counts)
	require.Equal(t, 1, counts[0], "Subscribers: %v", counts)
	list, _ := srv.Do("CLIENT", "LIST", "TYPE", "pubsub").(string)
	assert.Contains(t, list, "name=ears", "the subscribe connection has no name")
	if b.Prefix() != "app" || b.Capabilities().Prefix != "app" || b.SubscribeClient() != subscriber || b.PublishClient() != publisher {
		t.Error("accessors")
	}
	require.NoError(t, b.Close(within(t, patience)))
	assert.NoError(t, publisher.Publish(context.Background(), "x", "y").Err(), "the caller's client was closed")
	assert.NotZero(t, asked, "the credentials provider was not called")
}

func TestTLSAndPassword(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{TLS: true, Password: "p@ss#word"})
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Password: "p@ss#word", TLSConfig: srv.TLS()})
	defer client.Close()
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	subscribe(t, b, r, broker.SocketIO.EveryRoom("/"))
	long := strings.Repeat("long ", 1<<18)
	publish(t, b, room, long)
	publish(t, b, room, "short")
	r.Want(room, long)
	r.Want(room, "short")
	srv.Kill()
	r.WantCall("interrupted")
	srv.Restart()
	r.WantCall("resumed")
	publish(t, b, room, "again")
	r.Want(room, "again")

	// Open by address checks the certificate too.
	stranger := open(t, srv.URL(), quick())
	var unknown x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	if _, err := stranger.Subscribe(within(t, patience), record(t), broker.Exactly(room)); !errors.As(err, &unknown) && !errors.As(err, &verify) {
		t.Fatalf("Subscribe with an unknown certificate: %v", err)
	}
}

// TestTLSWithoutAnswer: a server that does not speak TLS may send nothing. The error has a hint, and the
// address once.
func TestTLSWithoutAnswer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for scheme, wantTLS := range map[string]bool{"redis": false, "rediss": true} {
		b := open(t, scheme+"://"+silent.Addr().String(), &redisbroker.Options{ProbeTimeout: 50 * time.Millisecond})
		_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
		var late *broker.TimeoutError
		if !errors.As(err, &late) || (late.Hint != "") != wantTLS || strings.Contains(err.Error(), "TLS") != wantTLS {
			t.Errorf("%s: %v", scheme, err)
		} else if strings.Count(err.Error(), late.Addr) != 1 {
			t.Errorf("%s: the error has the address twice: %v", scheme, err)
		}
	}
}

// TestDialerThatHangs: the end of a context also ends a call that waits for the client's own dialer.
func TestDialerThatHangs(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	defer close(let)
	client := redis.NewClient(&redis.Options{Addr: "nowhere:1", Dialer: func(context.Context, string, string) (net.Conn, error) {
		<-let
		return nil, errors.New("too late")
	}})
	defer client.Close()
	b, err := redisbroker.New(client, nil)
	require.NoError(t, err)
	brokertest.DialerThatHangs(t, b)
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "redis") // t.TempDir may be too long for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--unixsocket", path}})
	b := open(t, "unix://"+path, nil)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "hello")
	r.Want(room, "hello")
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	defer client.Close()
	var nodes []*redisbroker.Broker
	var heard []*recorder
	ids := []string{}
	w := broker.SocketIO
	// With that many, all three servers almost surely have a subscriber.
	for i := range 9 {
		b, err := redisbroker.New(client, nil)
		require.NoError(t, err)
		closeLater(t, b)
		id := fmt.Sprint("node", i)
		r := record(t)
		subscribe(t, b, r, w.EveryRoom("/"), broker.Exactly(w.Requests("/")), broker.Exactly(w.NodeResponses("/", id)))
		nodes, heard, ids = append(nodes, b), append(heard, r), append(ids, id)
	}
	for i, b := range nodes {
		publish(t, b, w.Room("/", "r"), fmt.Sprint("from ", i))
		flush(t, b)
		for _, r := range heard {
			r.Want(w.Room("/", "r"), fmt.Sprint("from ", i))
		}
		counts, err := b.Subscribers(within(t, patience), w.Requests("/"), w.NodeResponses("/", "node0"), w.Requests("/x"))
		require.NoError(t, err)
		require.Equal(t, []int{9, 1, 0}, counts, "Subscribers")
		got, err := b.Responders(within(t, patience), w, "/")
		require.NoError(t, err)
		require.ElementsMatch(t, ids, got, "Responders")
		require.False(t, b.Capabilities().OrderAcrossChannels, "a cluster claims order across channels")
	}

	// A server crashes: its brokers move to another one.
	c.Nodes[1].Kill()
	moved := 0
	for _, b := range nodes {
		eventually(t, func() error {
			if err := b.Publish(within(t, patience), w.Requests("/"), nil); err != nil {
				return err
			}
			var loss *broker.LossError
			if err := b.Flush(within(t, patience)); errors.As(err, &loss) {
				return err // the broker was connected to that server
			} else if err != nil {
				t.Fatal(err)
			}
			return nil
		})
	}
	for i, r := range heard {
		if nodes[i].Stats().Interruptions > 0 {
			moved++
		}
		eventually(t, func() error {
			text := fmt.Sprint("probe ", i, time.Now().UnixNano())
			publish(t, nodes[0], w.Room("/", "r"), text)
			for {
				got, ok := r.NextWithin(200 * time.Millisecond) // it may have been lost: then the next probe decides
				if !ok {
					return errors.New("the probe did not arrive")
				}
				if got.Payload == text {
					return nil
				}
			}
		})
	}
	t.Logf("%d of %d brokers were connected to the server that crashed", moved, len(nodes))
	// A sum without one of the masters would be wrong, so Subscribers returns an error.
	_, err := nodes[0].Subscribers(within(t, patience), w.Requests("/"))
	assert.Error(t, err, "Subscribers gave a sum without one of the servers")
	c.Nodes[1].Restart()
	c.WaitWhole(t)
	eventually(t, func() error {
		counts, err := nodes[0].Subscribers(within(t, patience), w.Requests("/"))
		if err == nil && counts[0] != 9 {
			err = fmt.Errorf("counted %d", counts[0])
		}
		return err
	})
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := servers.StartSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.Name, SentinelAddrs: []string{s.Addr()}})
	defer client.Close()
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "at the first master")
	r.Want(room, "at the first master")
	s.Master.Kill()
	r.WantCall("interrupted")
	r.WantCall("resumed")
	publish(t, b, room, "at the second")
	r.Until("at the second")
	role, _ := s.Replica.Do("ROLE").([]any)
	require.Equal(t, "master", role[0], "the role of the former replica")
	n, ok := s.Replica.Do("PUBSUB", "NUMSUB", "socket.io#/#room#").([]any)
	require.True(t, ok, "subscribed to the new master: %v", n)
	require.Equal(t, int64(1), n[1], "subscribed to the new master: %v", n)
}

func TestManyChannels(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	b := open(t, srv.URL(), nil)
	const n = 100000
	filters := make([]broker.Filter, n)
	channels := make([]broker.Channel, n)
	for i := range filters {
		channels[i] = broker.Native.Room("/", fmt.Sprintf("room %06d", i))
		filters[i] = broker.Exactly(channels[i])
	}
	r := record(t)
	start := time.Now()
	sub := subscribe(t, b, r, filters...)
	t.Logf("subscribed in %v", time.Since(start))
	for i := 0; i < n; i += 9999 {
		publish(t, b, channels[i], fmt.Sprint(i))
		r.Want(channels[i], fmt.Sprint(i))
	}
	counts, err := b.Subscribers(within(t, patience), channels...)
	if err != nil || slices.Min(counts) != 1 || slices.Max(counts) != 1 {
		t.Fatalf("Subscribers: %d to %d, %v", slices.Min(counts), slices.Max(counts), err)
	}
	srv.Kill()
	r.WantCall("interrupted")
	srv.Restart()
	start = time.Now()
	r.WantCall("resumed")
	t.Logf("resumed after %v", time.Since(start))
	publish(t, b, channels[n-1], "last")
	r.Want(channels[n-1], "last")
	require.NoError(t, sub.Remove(within(t, patience), filters[1:]...))
	publish(t, b, channels[n-1], "not wanted")
	publish(t, b, channels[0], "first")
	r.Want(channels[0], "first")
	s := b.Stats()
	require.Equal(t, 1, s.Subscriptions, "Stats %+v", s)
}

// TestHostileNames publishes on names with characters that have a meaning in Redis. Exactly the
// subscriptions with the channel's filter get each message, while all are live together.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	b := open(t, srv.URL(), &redisbroker.Options{Prefix: "p[x]*?"})
	other := open(t, srv.URL(), &redisbroker.Options{Prefix: "px*?"})
	names := []string{
		"", "/", "/a", "/ab", "/a*", "/a?", "/a[b]", "/a[^b]", "/[a-z]", `/a\`, `/a\*`, `\`, "*", "?", "[", "]", "/a b", " ", "\x00", "\r\n",
		"/ünï-房间-🚀", strings.Repeat("k", 1024), "42", "-request", "/a/b", "^", "{x}",
	}
	type heard struct {
		ns string
		r  *recorder
	}
	var all []heard
	for _, ns := range names {
		r := record(t)
		subscribe(t, b, r, broker.SocketIO.EveryRoom(ns), broker.Exactly(broker.SocketIO.Room(ns, "*")))
		all = append(all, heard{ns, r})
	}
	stranger := record(t)
	for _, ns := range names {
		subscribe(t, other, stranger, broker.SocketIO.EveryRoom(ns))
	}
	for _, ns := range names {
		for _, room := range append(names, "#", "a#b", "##") {
			publish(t, b, broker.SocketIO.Room(ns, room), ns+"\n"+room)
		}
	}
	for _, h := range all {
		for _, room := range append(names, "#", "a#b", "##") {
			h.r.Want(broker.SocketIO.Room(h.ns, room), h.ns+"\n"+room)
		}
	}
	// The marker proves that no other message was in flight.
	for _, h := range all {
		publish(t, b, broker.SocketIO.Broadcast(h.ns), "end")
		h.r.Want(broker.SocketIO.Broadcast(h.ns), "end")
	}
	publish(t, other, broker.SocketIO.Broadcast("/"), "end")
	stranger.Want(broker.SocketIO.Broadcast("/"), "end")

	for _, ch := range []broker.Channel{broker.SocketIO.Room("/a#b", "r"), broker.Native.Requests("\xff"), {}} {
		var refused *broker.NameError
		assert.ErrorAs(t, b.Publish(within(t, patience), ch, nil), &refused, "Publish on %v", ch)
		_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(ch))
		assert.ErrorAs(t, err, &refused, "Subscribe to %v", ch)
	}
}

// TestForeignMessages: messages of other programs on names that match a pattern and are no channel,
// are ignored, whatever the length of the name.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	b := open(t, srv.URL(), nil)
	r := record(t)
	subscribe(t, b, r, broker.SocketIO.EveryRoom("/"))
	for _, name := range []string{"socket.io#/#room", "socket.io#/#\xff#", "socket.io#/#" + strings.Repeat("x", 5000) + "#", "socket.io#/#" + strings.Repeat("x", 1<<20) + "#"} {
		require.Equal(t, int64(1), srv.Do("PUBLISH", name, "foreign"), "%.30q reached", name)
	}
	srv.Do("PUBLISH", "socket.io#/#room#", "ours")
	r.Want(room, "ours")
	s := b.Stats()
	require.EqualValues(t, 1, s.Received)
	require.Zero(t, s.Interruptions)
}
