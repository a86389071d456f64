package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

var (
	room   = broker.SocketIO.Room("/", "room")
	marker = broker.SocketIO.Room("/", "marker")
)

// lossLog keeps what OnLoss tells, and sums it.
type lossLog struct {
	mu   sync.Mutex
	list []broker.Loss
	came chan struct{}
}

func watchLosses(t testing.TB, b broker.Broker) *lossLog {
	l := &lossLog{came: make(chan struct{}, 1)}
	t.Cleanup(b.OnLoss(func(loss broker.Loss) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = append(l.list, loss)
		select {
		case l.came <- struct{}{}:
		default:
		}
	}))
	return l
}

func (l *lossLog) sum() (lost, uncertain int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, loss := range l.list {
		if loss.Uncertain {
			uncertain += loss.Messages
		} else {
			lost += loss.Messages
		}
	}
	return lost, uncertain
}

// balanced checks that every accepted message is accounted for, and told.
func balanced(t testing.TB, b broker.Broker, l *lossLog) broker.Stats {
	t.Helper()
	s := b.Stats()
	if s.Accepted != s.Sent+s.Lost+s.Uncertain+uint64(s.QueuedMessages) {
		t.Errorf("messages without an account: %+v", s)
	}
	if lost, uncertain := l.sum(); uint64(lost) != s.Lost || uint64(uncertain) != s.Uncertain {
		t.Errorf("OnLoss told of %d lost and %d uncertain, Stats of %d and %d", lost, uncertain, s.Lost, s.Uncertain)
	}
	return s
}

func TestGoneAtTheStart(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	srv.Kill()
	b := open(t, srv.URL(), quick())
	losses := watchLosses(t, b)

	start := time.Now()
	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), srv.Addr()) {
		t.Fatalf("Subscribe: %v, want a refused connection with its address", err)
	}
	if _, err := b.Subscribers(within(t, patience), room); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("Subscribers: %v, want a refused connection", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Fatalf("the errors took %v", took)
	}
	publish(t, b, room, "waits")
	if err := b.Flush(within(t, 50*time.Millisecond)); err != context.DeadlineExceeded {
		t.Fatalf("Flush: %v, want the context's error", err)
	}

	srv.Restart()
	flush(t, b)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "after")
	r.want(room, "after")
	flush(t, b)
	if s := balanced(t, b, losses); s.Sent != 2 || s.Interruptions != 0 {
		t.Fatalf("Stats %+v", s)
	}
}

func TestCrashInTheMiddle(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	b := open(t, srv.URL(), quick())
	losses := watchLosses(t, b)
	r, second := record(t), record(t)
	subscribe(t, b, r, broker.SocketIO.EveryRoom("/"), broker.Exactly(broker.Control()))
	subscribe(t, b, second, broker.Exactly(room))
	empty := record(t)
	subscribe(t, b, empty)
	for round := range 3 {
		before := fmt.Sprint("before ", round)
		publish(t, b, room, before)
		flush(t, b)
		r.want(room, before)
		second.want(room, before)

		srv.Kill()
		if c := r.wantCall("interrupted"); !errors.Is(c.err, io.EOF) && !errors.Is(c.err, syscall.ECONNRESET) {
			t.Fatalf("Interrupted(%v), want the lost connection", c.err)
		}
		second.wantCall("interrupted")
		for i := range 5 {
			publish(t, b, room, fmt.Sprint("meanwhile ", i))
		}
		// Subscribing waits for the server, and fails only with its context.
		if _, err := b.Subscribe(within(t, 20*time.Millisecond), record(t), broker.Exactly(marker)); err != context.DeadlineExceeded {
			t.Fatalf("Subscribe during the outage: %v, want the context's error", err)
		}
		late := make(chan error, 1)
		lateReceiver := record(t)
		go func() {
			sub, err := b.Subscribe(within(t, patience), lateReceiver, broker.Exactly(marker))
			if err == nil {
				defer sub.Close(context.Background())
				b.Publish(context.Background(), marker, []byte("late"))
				lateReceiver.want(marker, "late")
			}
			late <- err
		}()
		srv.Restart()
		r.wantCall("resumed")
		second.wantCall("resumed")
		if err := <-late; err != nil {
			t.Fatalf("Subscribe that waited for the end of the outage: %v", err)
		}
		publish(t, b, room, "end of round")
		var loss *broker.LossError
		if err := b.Flush(within(t, patience)); err != nil && !errors.As(err, &loss) {
			t.Fatal(err)
		}
		for _, c := range append(r.until("end of round"), second.until("end of round")...) {
			if c.what != "deliver" || !strings.HasPrefix(c.payload, "meanwhile") && c.payload != "late" {
				t.Fatalf("after Resumed came %v", c)
			}
		}
	}
	// Only the first message after a crash may be in doubt, if it was written before
	// the publish connection was seen to be closed.
	s := balanced(t, b, losses)
	if s.Lost != 0 || s.Uncertain > 3 || s.QueuedMessages != 0 || s.Interruptions != 6 || s.Interrupted <= 0 {
		t.Fatalf("Stats %+v", s)
	}
	if len(empty.calls) > 0 {
		t.Fatalf("a subscription without filters got %v", <-empty.calls)
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Password: "right"})
	for _, url := range []string{"redis://default:wrong@" + srv.Addr(), "redis://" + srv.Addr()} {
		opts := quick()
		opts.QueueAge = 200 * time.Millisecond
		b := open(t, url, opts)
		losses := watchLosses(t, b)
		var refused *redisbroker.ServerError
		_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
		if !errors.As(err, &refused) || refused.Code() != "WRONGPASS" && refused.Code() != "NOAUTH" {
			t.Fatalf("Subscribe: %v, want the server's refusal", err)
		}
		if strings.Contains(err.Error(), "wrong@") {
			t.Fatalf("the error has the password: %v", err)
		}
		refused = nil
		if _, err := b.Subscribers(within(t, patience), room); !errors.As(err, &refused) {
			t.Fatalf("Subscribers: %v, want the server's refusal", err)
		}
		// What waits gets too old, and the loss says why it waited.
		publish(t, b, room, "never sent")
		err = b.Flush(within(t, patience))
		var loss *broker.LossError
		refused = nil
		if !errors.As(err, &loss) || loss.Messages != 1 || loss.Bytes != 10 || loss.Uncertain ||
			!errors.Is(err, redisbroker.ErrTooOld) || !errors.As(err, &refused) {
			t.Fatalf("Flush: %v, want one message lost, too old, because of the refusal", err)
		}
		if err := b.Flush(within(t, patience)); err != nil {
			t.Fatalf("second Flush: %v, want nil: the loss has been told", err)
		}
		<-losses.came
		if s := balanced(t, b, losses); s.Lost != 1 || s.Sent != 0 {
			t.Fatalf("Stats %+v", s)
		}
	}
}

// An emitter does not subscribe, and its first word of a refusal may be Close's.
func TestCloseSaysWhyItCouldNotSend(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Password: "right"})
	b, err := redisbroker.Open("redis://"+srv.Addr(), quick())
	if err != nil {
		t.Fatal(err)
	}
	losses := watchLosses(t, b)
	publish(t, b, room, "never sent")
	// Subscribers meets the refusal too, so that there was one when Close comes.
	var refused *redisbroker.ServerError
	if _, err := b.Subscribers(within(t, patience), room); !errors.As(err, &refused) {
		t.Fatalf("Subscribers: %v, want the server's refusal", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err = b.Close(ctx)
	var loss *broker.LossError
	if refused = nil; !errors.As(err, &loss) || loss.Messages != 1 || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &refused) {
		t.Fatalf("Close: %v, want one message lost, by the deadline, because of the refusal", err)
	}
	<-losses.came
}

func TestAccessControl(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{
		"node on >pw resetchannels &socket.io#/chat#* &socket.io-request#/chat# -@all +publish +subscribe +psubscribe +unsubscribe +punsubscribe",
	}})
	b := open(t, "redis://node:pw@"+srv.Addr(), quick())
	losses := watchLosses(t, b)
	w := broker.SocketIO
	r := record(t)
	sub := subscribe(t, b, r, w.EveryRoom("/chat"), broker.Exactly(w.Requests("/chat")))

	// Refused ones, alone and among many, leave nothing behind and disturb nobody.
	var refused *redisbroker.ServerError
	_, err := b.Subscribe(within(t, patience), record(t), w.EveryRoom("/other"))
	if !errors.As(err, &refused) || refused.Code() != "NOPERM" || refused.Command != "PSUBSCRIBE" {
		t.Fatalf("Subscribe: %v, want NOPERM", err)
	}
	filters := []broker.Filter{broker.Exactly(w.Room("/secret", "x"))}
	for i := range 50 {
		filters = append(filters, broker.Exactly(w.Room("/chat", fmt.Sprint(i))))
	}
	refused = nil
	allowed := make(chan error, 1)
	go func() { allowed <- sub.Add(within(t, patience), broker.Exactly(w.Room("/chat", "fine"))) }()
	if err := sub.Add(within(t, patience), filters...); !errors.As(err, &refused) || refused.Code() != "NOPERM" {
		t.Fatalf("Add: %v, want NOPERM", err)
	}
	if err := <-allowed; err != nil {
		t.Fatalf("an allowed Add beside a refused one: %v", err)
	}
	if s := b.Stats(); s.Subscriptions != 3 || s.Interruptions != 0 {
		t.Fatalf("Stats %+v, want 3 filters and no interruption", s)
	}

	publish(t, b, w.Room("/chat", "a"), "allowed")
	publish(t, b, w.Room("/other", "a"), "forbidden")
	publish(t, b, w.Room("/chat", "b"), "allowed too")
	err = b.Flush(within(t, patience))
	var loss *broker.LossError
	refused = nil
	if !errors.As(err, &loss) || loss.Messages != 1 || loss.Uncertain || !errors.As(err, &refused) || refused.Code() != "NOPERM" {
		t.Fatalf("Flush: %v, want one message lost for NOPERM", err)
	}
	r.want(w.Room("/chat", "a"), "allowed")
	r.want(w.Room("/chat", "b"), "allowed too")
	<-losses.came
	if s := balanced(t, b, losses); s.Sent != 2 || s.Lost != 1 {
		t.Fatalf("Stats %+v", s)
	}
	if got := srv.Do("PUBSUB", "CHANNELS", "*"); len(got.([]any)) != 2 {
		t.Fatalf("the server has channels %v, want the two that are held", got)
	}
}

// TestSilence: a frozen server and a half-open link are noticed, and nothing else
// waits for them.
func TestSilence(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	proxy := tcpproxy.Start(t, srv.Addr())
	for _, how := range []struct {
		name       string
		stop, heal func()
	}{
		{"frozen server", srv.Pause, srv.Continue},
		{"half-open link", proxy.HalfOpen, proxy.Heal},
	} {
		t.Run(how.name, func(t *testing.T) {
			opts := quick()
			b := open(t, proxy.Addr(), opts)
			losses := watchLosses(t, b)
			r := record(t)
			subscribe(t, b, r, broker.Exactly(room))
			publish(t, b, room, "before")
			r.want(room, "before")
			if _, err := b.Subscribers(within(t, patience), room); err != nil {
				t.Fatal(err)
			}

			start := time.Now()
			how.stop()
			for i := range 10 {
				publish(t, b, room, fmt.Sprint("in doubt ", i))
			}
			if err := b.Flush(within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
				t.Fatalf("Flush: %v, want the context's error", err)
			}
			if _, err := b.Subscribers(within(t, 20*time.Millisecond), room); err != context.DeadlineExceeded {
				t.Fatalf("Subscribers: %v, want the context's error", err)
			}
			c := r.wantCall("interrupted")
			var silence *redisbroker.SilenceError
			if !errors.As(c.err, &silence) {
				t.Fatalf("Interrupted(%v), want a *SilenceError", c.err)
			}
			if took := time.Since(start); took > opts.ProbeInterval+opts.ProbeTimeout+2*time.Second {
				t.Fatalf("noticed after %v", took)
			}
			err := b.Flush(within(t, patience))
			var loss *broker.LossError
			if !errors.As(err, &loss) || loss.Messages != 10 || !loss.Uncertain || !errors.As(err, &silence) {
				t.Fatalf("Flush: %v, want ten uncertain messages", err)
			}
			publish(t, b, room, "queued")
			how.heal()
			r.wantCall("resumed")
			publish(t, b, room, "end")
			flush(t, b)
			seen := map[string]int{}
			for _, c := range r.until("end") {
				if seen[c.payload]++; seen[c.payload] > 1 || c.what != "deliver" {
					t.Fatalf("%v came %d times", c, seen[c.payload])
				}
			}
			if s := balanced(t, b, losses); s.Uncertain != 10 || s.Lost != 0 || s.Interruptions != 1 {
				t.Fatalf("Stats %+v", s)
			}
		})
	}
}

// TestNothingIsSentTwice breaks the connection again and again under a steady load
// and checks that no message arrives twice or out of order, that those which did
// not arrive are no more than those in doubt, and that all are accounted for.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	proxy := tcpproxy.Start(t, srv.Addr())
	sender, listener := open(t, proxy.Addr(), quick()), open(t, srv.Addr(), nil)
	losses := watchLosses(t, sender)
	r := record(t)
	subscribe(t, listener, r, broker.Exactly(room), broker.Exactly(marker))
	const n = 30000
	stop := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if i%3 == 0 {
				proxy.Throttle(1 << 20) // so that the next cut finds messages on the way
			} else {
				proxy.Cut()
				proxy.Heal()
			}
		}
	})
	for i := range n {
		publish(t, sender, room, fmt.Sprintf("%08d", i))
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // long enough for some cuts to happen
		}
	}
	close(stop)
	cutting.Wait()
	proxy.Heal()
	var loss *broker.LossError
	if err := sender.Flush(within(t, patience)); err != nil && !errors.As(err, &loss) {
		t.Fatal(err)
	}
	publish(t, listener, marker, "end")
	arrived, last := 0, ""
	for _, c := range r.until("end") {
		if c.payload <= last {
			t.Fatalf("%s came after %s", c.payload, last)
		}
		last = c.payload
		arrived++
	}
	flush(t, sender)
	s := balanced(t, sender, losses)
	if uint64(n-arrived) > s.Uncertain || s.Lost != 0 || s.Accepted != n {
		t.Fatalf("%d of %d arrived; Stats %+v", arrived, n, s)
	}
	if s.Uncertain == 0 {
		t.Fatal("no cut hit a message on the wire: the test shows nothing")
	}
	t.Logf("%d cuts, %d uncertain, %d missing", proxy.Accepted()-1, s.Uncertain, n-arrived)
}

// gate is a receiver that holds up deliveries until it is opened.
type gate struct {
	*recorder
	entered chan struct{}
	open    chan struct{}
}

func newGate(t testing.TB) *gate {
	return &gate{recorder: record(t), entered: make(chan struct{}, 1), open: make(chan struct{})}
}

func (g *gate) Deliver(ch broker.Channel, payload []byte) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	g.recorder.Deliver(ch, payload)
}

// TestOutputBufferLimit: a receiver that does not keep up makes the server cut the
// connection. That is an interruption, in its place.
func TestOutputBufferLimit(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--client-output-buffer-limit", "pubsub 1mb 1mb 1"}})
	opts := quick()
	opts.ReceiveBuffer = 64 << 10
	slow, sender := open(t, srv.Addr(), opts), open(t, srv.Addr(), nil)
	g := newGate(t)
	subscribe(t, slow, g, broker.Exactly(room))
	text := strings.Repeat("x", 256<<10)
	n := 0
	for ; srv.Do("CLIENT", "LIST", "TYPE", "pubsub") != ""; n++ {
		if n > 1000 {
			t.Fatal("the server does not cut the connection")
		}
		publish(t, sender, room, text)
		flush(t, sender)
	}
	close(g.open)
	delivered := 0
	for {
		c := g.next()
		if c.what == "interrupted" {
			break
		}
		if c.payload != text {
			t.Fatalf("got %v", c)
		}
		delivered++
	}
	if delivered == 0 || delivered >= n {
		t.Fatalf("%d of %d messages before the interruption", delivered, n)
	}
	g.wantCall("resumed")
	publish(t, sender, room, "after")
	g.want(room, "after")
}
