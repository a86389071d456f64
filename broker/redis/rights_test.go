package redisbroker_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// wantReason checks that an error is the server's refusal with the given code.
func wantReason(t *testing.T, what string, err error, code string) {
	t.Helper()
	var refused *redisbroker.ServerError
	if assert.ErrorAs(t, err, &refused, what) {
		assert.Equal(t, code, refused.Code(), what)
		assert.ErrorContains(t, err, code, what)
		assert.NotContains(t, err.Error(), "EOF", what)
	}
}

// TestPermissionsRevoked revokes permissions that a broker uses, and restores them.
func TestPermissionsRevoked(t *testing.T) {
	t.Parallel()
	const all = "node on >pw resetchannels &socket.io#/a#* &socket.io#/b#* &socket.io-request#/b# +@all"
	a, b := broker.SocketIO.Room("/a", "r"), broker.SocketIO.Requests("/b")
	for _, c := range []struct {
		name       string
		take, give [][]string
		code       string
		onlyA      bool // only the subscription to a is interrupted
	}{
		{
			name: "channel", code: "NOPERM", onlyA: true,
			take: [][]string{{"ACL", "SETUSER", "node", "resetchannels", "&socket.io-request#/b#"}},
			give: [][]string{{"ACL", "SETUSER", "node", "&socket.io#/a#*"}},
		},
		{
			name: "PSUBSCRIBE", code: "NOPERM", onlyA: true,
			take: [][]string{{"ACL", "SETUSER", "node", "-psubscribe"}, {"CLIENT", "KILL", "USER", "node"}},
			give: [][]string{{"ACL", "SETUSER", "node", "+psubscribe"}},
		},
		{
			name: "user off", code: "WRONGPASS",
			take: [][]string{{"ACL", "SETUSER", "node", "off"}, {"CLIENT", "KILL", "USER", "node"}},
			give: [][]string{{"ACL", "SETUSER", "node", "on"}},
		},
		{
			name: "password changed", code: "WRONGPASS",
			take: [][]string{{"ACL", "SETUSER", "node", "resetpass", ">other"}, {"CLIENT", "KILL", "USER", "node"}},
			give: [][]string{{"ACL", "SETUSER", "node", "resetpass", ">pw"}},
		},
		{
			name: "user deleted", code: "WRONGPASS",
			take: [][]string{{"ACL", "DELUSER", "node"}},
			give: [][]string{append([]string{"ACL", "SETUSER"}, strings.Fields(all)...)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{all}})
			var log brokertest.Log
			opts := quick()
			opts.Logger = log.Logger()
			n := open(t, "redis://node:pw@"+srv.Addr(), opts)
			atA, atB := record(t), record(t)
			subscribe(t, n, atA, broker.SocketIO.EveryRoom("/a"))
			subscribe(t, n, atB, broker.Exactly(b))
			for range 2 {
				for _, command := range c.take {
					srv.Do(command...)
				}
				wantReason(t, "Interrupted", atA.WantCall("interrupted").Err, c.code)
				if interrupted := atB.WantCall("interrupted"); c.onlyA {
					atB.WantCall("resumed")
					srv.Do("PUBLISH", "socket.io-request#/b#", "allowed")
					atB.Want(b, "allowed")
				} else {
					wantReason(t, "Interrupted", interrupted.Err, c.code)
				}
				// While the permission is missing, attempts have no effect.
				if c.onlyA {
					require.NoError(t, n.Flush(within(t, patience)))
				}
				atA.WantNothing()
				for _, command := range c.give {
					srv.Do(command...)
				}
				atA.WantCall("resumed")
				srv.Do("PUBLISH", "socket.io#/a#r#", "again")
				atA.Want(a, "again")
				if !c.onlyA {
					atB.WantCall("resumed")
				}
			}
			text := log.String()
			assert.Contains(t, text, c.code)
			assert.LessOrEqual(t, strings.Count(text, "\n"), 20)
		})
	}
}

// TestWhilePermissionIsMissing: a subscription that waits for a permission can be changed and
// closed, and others can be added. A new Subscribe of a refused filter fails at once.
func TestWhilePermissionIsMissing(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"node on >pw &* +@all"}})
	b := open(t, "redis://node:pw@"+srv.Addr(), quick())
	rights := func(words ...string) {
		srv.Do(append([]string{"ACL", "SETUSER", "node", "resetchannels"}, words...)...)
	}
	good, bad := broker.SocketIO.Room("/", "good"), broker.SocketIO.Room("/", "bad")
	const goodName, badName, extraName = "&socket.io#/#good#", "&socket.io#/#bad#", "&socket.io#/#extra#"
	changed, closed, many := record(t), record(t), record(t)
	one := subscribe(t, b, changed, broker.Exactly(good), broker.Exactly(bad))
	two := subscribe(t, b, closed, broker.Exactly(bad))
	const n = 300 // more than are requested at a time
	var filters []broker.Filter
	for i := range n {
		filters = append(filters, broker.Exactly(broker.SocketIO.Room("/", fmt.Sprint("bad", i))))
	}
	subscribe(t, b, many, filters...)
	rights(goodName, extraName)
	for _, r := range []*recorder{changed, closed, many} {
		wantReason(t, "Interrupted", r.WantCall("interrupted").Err, "NOPERM")
	}

	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(bad))
	wantReason(t, "Subscribe", err, "NOPERM")
	extra := record(t)
	subscribe(t, b, extra, broker.Exactly(broker.SocketIO.Room("/", "extra")))
	srv.Do("PUBLISH", "socket.io#/#extra#", "extra")
	extra.Want(broker.SocketIO.Room("/", "extra"), "extra")

	require.NoError(t, one.Remove(within(t, patience), broker.Exactly(bad)))
	changed.WantCall("resumed") // its remaining filters are allowed
	srv.Do("PUBLISH", "socket.io#/#good#", "good")
	changed.Want(good, "good")
	require.NoError(t, two.Close(within(t, patience)))
	rights(goodName, extraName, badName, "&socket.io#/#bad[0-9]*")
	many.WantNothing()
	rights("allchannels")
	many.WantCall("resumed")
	for i := range n {
		srv.Do("PUBLISH", fmt.Sprintf("socket.io#/#bad%d#", i), fmt.Sprint(i))
		many.Want(filters[i].Channel(), fmt.Sprint(i))
	}
	closed.WantNothing()
	s := b.Stats()
	assert.Equal(t, n+2, s.Subscriptions, "Stats %+v", s)
}

// TestPublishPermissionRevoked: messages that the server refuses are counted and reported with the
// refusal. When it allows them again, they are sent.
func TestPublishPermissionRevoked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, take, give string }{
		{"command", "-publish", "+publish"},
		{"channel", "resetchannels", "allchannels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"node on >pw &* +@all"}})
			b := open(t, "redis://node:pw@"+srv.Addr(), quick())
			losses := watchLosses(t, b)
			publish(t, b, room, "allowed")
			flush(t, b)
			for round := range uint64(2) {
				srv.Do("ACL", "SETUSER", "node", c.take)
				const n = 500
				for i := range n {
					publish(t, b, room, fmt.Sprint(i))
				}
				err := b.Flush(within(t, patience))
				wantReason(t, "Flush", err, "NOPERM")
				var loss *broker.LossError
				if assert.ErrorAs(t, err, &loss) {
					assert.EqualValues(t, n, loss.Messages)
					assert.False(t, loss.Uncertain, "Flush: %v", err)
				}
				srv.Do("ACL", "SETUSER", "node", c.give)
				publish(t, b, room, "allowed again")
				flush(t, b)
				s := brokertest.Balanced(t, b, losses)
				assert.Equal(t, (round+1)*n, s.Lost, "Stats")
				assert.Zero(t, s.Uncertain, "Stats")
			}
		})
	}
}

// TestUserDeletedWhilePublishing: messages that are in flight when the server closes the
// connection are uncertain, and the reason is reported.
func TestUserDeletedWhilePublishing(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"node on >pw &* +@all"}})
	proxy := tcpproxy.Start(t, srv.Addr())
	opts := quick()
	opts.QueueAge = 200 * time.Millisecond
	b := open(t, "redis://node:pw@"+proxy.Addr(), opts)
	losses := watchLosses(t, b)
	publish(t, b, room, "before")
	flush(t, b)
	srv.Do("ACL", "SETUSER", "node", "off")
	proxy.HalfOpen() // the next messages get no reply
	for i := range 20 {
		publish(t, b, room, fmt.Sprint(i))
	}
	proxy.Disconnect()
	proxy.Heal()
	err := b.Flush(within(t, patience))
	wantReason(t, "Flush", err, "WRONGPASS")
	s := brokertest.Balanced(t, b, losses)
	assert.NotZero(t, s.Uncertain, "Stats")
	assert.EqualValues(t, 20, s.Uncertain+s.Lost, "Stats")
}

// keepOpen returns a function that runs commands over one open connection.
func keepOpen(t *testing.T, addr string) func(command ...string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1, ClientName: "keep", MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	conn := client.Conn()
	t.Cleanup(func() { conn.Close() })
	return func(command ...string) {
		t.Helper()
		args := make([]any, len(command))
		for i, arg := range command {
			args[i] = arg
		}
		require.NoError(t, conn.Do(t.Context(), args...).Err(), "%v", command)
	}
}

// TestReasons: while a server refuses a broker, errors have the server's reason,
// not only that it closed the connection.
func TestReasons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code       string
		reply      string // a part of the reply
		take, give [][]string
	}{
		{
			code: "ERR", reply: "max number of clients",
			take: [][]string{{"CONFIG", "SET", "maxclients", "1"}},
			give: [][]string{{"CONFIG", "SET", "maxclients", "1000"}},
		},
		{
			code: "NOAUTH", reply: "NOAUTH",
			take: [][]string{{"CONFIG", "SET", "requirepass", "new"}},
			give: [][]string{{"CONFIG", "SET", "requirepass", ""}},
		},
	} {
		t.Run(c.reply, func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, nil)
			opts := quick()
			opts.QueueAge = 300 * time.Millisecond
			proxy := tcpproxy.Start(t, srv.Addr())
			b := open(t, proxy.Addr(), opts)
			r := record(t)
			subscribe(t, b, r, broker.Exactly(room))
			do := keepOpen(t, srv.Addr()) // to which the limit does not apply
			for _, command := range c.take {
				do(command...)
			}
			proxy.Disconnect()
			got := r.WantCall("interrupted")
			assert.Contains(t, got.Err.Error(), c.reply, "Interrupted")
			publish(t, b, room, "too old")
			err := b.Flush(within(t, patience))
			var loss *broker.LossError
			require.ErrorAs(t, err, &loss)
			assert.False(t, loss.Uncertain, "Flush: %v", err)
			assert.ErrorContains(t, err, c.reply)
			wantReason(t, "Flush", err, c.code)
			_, err = b.Subscribers(within(t, patience), room)
			assert.ErrorContains(t, err, c.reply)
			other := open(t, srv.Addr(), quick())
			_, err = other.Subscribe(within(t, patience), record(t), broker.Exactly(room))
			assert.ErrorContains(t, err, c.reply)
			for _, command := range c.give {
				do(command...)
			}
			r.WantCall("resumed")
		})
	}
}

// TestDiskError: a server that cannot write to its disk refuses PING, but still delivers
// messages.
func TestDiskError(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--enable-protected-configs", "yes"}})
	dir := t.TempDir()
	srv.Do("CONFIG", "SET", "dir", dir)
	srv.Do("CONFIG", "SET", "save", "3600 1")
	require.NoError(t, os.RemoveAll(dir))
	srv.Do("SET", "key", "value")
	srv.Do("BGSAVE")
	eventually(t, func() error {
		info, _ := srv.Do("INFO", "persistence").(string)
		if !strings.Contains(info, "rdb_last_bgsave_status:err") {
			return errors.New("no failed save")
		}
		return nil
	})
	b := open(t, srv.Addr(), quick())
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "served")
	r.Want(room, "served")
	counts, err := b.Subscribers(within(t, patience), room)
	require.NoError(t, err, "Subscribers: %v", counts)
	assert.Equal(t, 1, counts[0], "Subscribers: %v", counts)
}

// TestLoading: a server that is still reading its data replies LOADING until it has finished.
func TestLoading(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{
		"--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024", // a second for 2,000 keys
	}})
	var keys []string
	for i := range 2000 {
		keys = append(keys, fmt.Sprint("key", i), "value")
	}
	srv.Do(append([]string{"MSET"}, keys...)...)
	srv.Do("SAVE")
	opts := quick()
	opts.QueueAge = 100 * time.Millisecond
	b := open(t, srv.Addr(), opts)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	srv.Kill()
	r.WantCall("interrupted")
	// Restart returns when the data is loaded.
	ended, stop := make(chan []error), make(chan struct{})
	go func() {
		var all []error
		defer func() { ended <- all }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if b.Publish(t.Context(), room, nil) != nil {
				return
			}
			if err := b.Flush(t.Context()); err != nil {
				all = append(all, err)
			}
		}
	}()
	srv.Restart()
	close(stop)
	named := 0
	for _, err := range <-ended {
		var refused *redisbroker.ServerError
		if errors.As(err, &refused) {
			wantReason(t, "Flush", err, "LOADING")
			named++
		}
	}
	assert.NotZero(t, named, "no loss names LOADING")
	for r.Next().What != "resumed" {
	}
}
