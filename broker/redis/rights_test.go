package redisbroker_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// wantReason checks that an error is the server's refusal, and names it.
func wantReason(t *testing.T, what string, err error, code string) {
	t.Helper()
	var refused *redisbroker.ServerError
	if !errors.As(err, &refused) || refused.Code() != code || !strings.Contains(err.Error(), code) || strings.Contains(err.Error(), "EOF") {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// TestRightsTakenAway takes rights away from a broker that uses them, and gives them back.
func TestRightsTakenAway(t *testing.T) {
	t.Parallel()
	const all = "node on >pw resetchannels &socket.io#/a#* &socket.io#/b#* &socket.io-request#/b# +@all"
	a, b := broker.SocketIO.Room("/a", "r"), broker.SocketIO.Requests("/b")
	for _, c := range []struct {
		name       string
		take, give [][]string
		code       string
		onlyA      bool // the rest goes on
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
				// However long it lasts: some attempts are made, which change nothing.
				if c.onlyA {
					if err := n.Flush(within(t, patience)); err != nil {
						t.Fatal(err)
					}
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
			if text := log.String(); !strings.Contains(text, c.code) || strings.Count(text, "\n") > 20 {
				t.Errorf("log:\n%s", text)
			}
		})
	}
}

// TestWhileARightIsMissing: a subscription that waits for a right can be changed and
// closed, others can be added, and who asks anew for what is refused is told at once.
func TestWhileARightIsMissing(t *testing.T) {
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
	const n = 300 // more than are asked for at a time
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

	if err := one.Remove(within(t, patience), broker.Exactly(bad)); err != nil {
		t.Fatal(err)
	}
	changed.WantCall("resumed") // what it has left is allowed
	srv.Do("PUBLISH", "socket.io#/#good#", "good")
	changed.Want(good, "good")
	if err := two.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	rights(goodName, extraName, badName, "&socket.io#/#bad[0-9]*")
	many.WantNothing()
	rights("allchannels")
	many.WantCall("resumed")
	for i := range n {
		srv.Do("PUBLISH", fmt.Sprintf("socket.io#/#bad%d#", i), fmt.Sprint(i))
		many.Want(filters[i].Channel(), fmt.Sprint(i))
	}
	closed.WantNothing()
	if s := b.Stats(); s.Subscriptions != n+2 {
		t.Errorf("Stats %+v", s)
	}
}

// TestRightToPublishTakenAway: what the server refuses is counted and reported with the
// refusal, and what it allows again is sent.
func TestRightToPublishTakenAway(t *testing.T) {
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
				if !errors.As(err, &loss) || loss.Messages != n || loss.Uncertain {
					t.Errorf("Flush: %v, want %d messages lost", err, n)
				}
				srv.Do("ACL", "SETUSER", "node", c.give)
				publish(t, b, room, "allowed again")
				flush(t, b)
				if s := brokertest.Balanced(t, b, losses); s.Lost != (round+1)*n || s.Uncertain != 0 {
					t.Errorf("Stats %+v", s)
				}
			}
		})
	}
}

// TestUserDeletedWhilePublishing: of what is on the wire when the server closes the
// connection nobody knows, but why is said.
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
	proxy.HalfOpen() // the next ones stay on the wire
	for i := range 20 {
		publish(t, b, room, fmt.Sprint(i))
	}
	proxy.Disconnect()
	proxy.Heal()
	err := b.Flush(within(t, patience))
	wantReason(t, "Flush", err, "WRONGPASS")
	if s := brokertest.Balanced(t, b, losses); s.Uncertain == 0 || s.Uncertain+s.Lost != 20 {
		t.Errorf("Stats %+v", s)
	}
}

// keepOpen returns what runs commands over one connection that is open.
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
		if err := conn.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", command, err)
		}
	}
}

// TestReasons: for as long as a server does not let a broker in, errors name its reason,
// and not that it has closed the connection.
func TestReasons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code       string
		reply      string // part of it
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
			do := keepOpen(t, srv.Addr()) // which a limit does not concern
			for _, command := range c.take {
				do(command...)
			}
			proxy.Disconnect()
			if got := r.WantCall("interrupted"); !strings.Contains(got.Err.Error(), c.reply) {
				t.Errorf("Interrupted(%v), want %s", got.Err, c.reply)
			}
			publish(t, b, room, "too old")
			err := b.Flush(within(t, patience))
			var loss *broker.LossError
			if !errors.As(err, &loss) || loss.Uncertain || !strings.Contains(err.Error(), c.reply) {
				t.Errorf("Flush: %v, want the loss and %s", err, c.reply)
			}
			wantReason(t, "Flush", err, c.code)
			if _, err := b.Subscribers(within(t, patience), room); err == nil || !strings.Contains(err.Error(), c.reply) {
				t.Errorf("Subscribers: %v, want %s", err, c.reply)
			}
			other := open(t, srv.Addr(), quick())
			if _, err := other.Subscribe(within(t, patience), record(t), broker.Exactly(room)); err == nil || !strings.Contains(err.Error(), c.reply) {
				t.Errorf("Subscribe: %v, want %s", err, c.reply)
			}
			for _, command := range c.give {
				do(command...)
			}
			r.WantCall("resumed")
		})
	}
}

// TestDiskError: a server that cannot write to its disk refuses PING, and serves messages
// all the same.
func TestDiskError(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--enable-protected-configs", "yes"}})
	dir := t.TempDir()
	srv.Do("CONFIG", "SET", "dir", dir)
	srv.Do("CONFIG", "SET", "save", "3600 1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
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
	if counts, err := b.Subscribers(within(t, patience), room); err != nil || counts[0] != 1 {
		t.Errorf("Subscribers: %v, %v", counts, err)
	}
}

// TestLoading: a server that is still reading its data says so, for as long as it takes.
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
	// Restart returns when all is loaded.
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
	if named == 0 {
		t.Error("no loss names LOADING")
	}
	for r.Next().What != "resumed" {
	}
}
