package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

var (
	room   = broker.Native.Room("/", "room")
	marker = broker.Native.Room("/", "marker")
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
	srv := servers.StartNATS(t, nil)
	srv.Kill()
	b := open(t, srv.URL(), quick())
	losses := watchLosses(t, b)

	start := time.Now()
	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), srv.Addr()) {
		t.Fatalf("Subscribe: %v, want a refused connection with its address", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Fatalf("the error took %v", took)
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

// TestCrashInTheMiddle kills the server and starts it again, several times.
func TestCrashInTheMiddle(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	b := open(t, srv.URL(), quick())
	losses := watchLosses(t, b)
	r, second := record(t), record(t)
	subscribe(t, b, r, broker.Native.EveryRoom("/"), broker.Exactly(broker.Control()))
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
		if c := r.wantCall("interrupted"); !errors.Is(c.err, io.EOF) && !errors.Is(c.err, syscall.ECONNRESET) || !strings.Contains(c.err.Error(), srv.Addr()) {
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
		flush(t, b)
		for i, got := range [][]call{r.until("end of round"), second.until("end of round")} {
			n := 0
			for _, c := range got {
				switch {
				case c.what == "deliver" && c.payload == fmt.Sprint("meanwhile ", n):
					n++
				case c.what != "deliver" || c.payload != "late":
					t.Fatalf("after Resumed receiver %d got %v", i, c)
				}
			}
			if n != 5 {
				t.Fatalf("receiver %d got %d of the 5 messages of the outage", i, n)
			}
		}
	}
	s := balanced(t, b, losses)
	if s.Lost+s.Uncertain != 0 || s.QueuedMessages != 0 || s.Interruptions != 6 || s.Interrupted <= 0 {
		t.Fatalf("Stats %+v", s)
	}
	if len(empty.calls) > 0 {
		t.Fatalf("a subscription without filters got %v", <-empty.calls)
	}
}

// TestSilence: a frozen server and a half-open link are noticed, and nothing else
// waits for them.
func TestSilence(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
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
			flush(t, b)
			r.want(room, "before")

			start := time.Now()
			how.stop()
			// More than the system takes at once, so that writing would have to wait.
			large := strings.Repeat("x", 512<<10)
			for range 10 {
				publish(t, b, room, large)
			}
			if took := time.Since(start); took > time.Second {
				t.Fatalf("publishing to a dead link took %v", took)
			}
			if err := b.Flush(within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
				t.Fatalf("Flush: %v, want the context's error", err)
			}
			if _, err := b.Subscribe(within(t, 20*time.Millisecond), record(t), broker.Exactly(marker)); err != context.DeadlineExceeded {
				t.Fatalf("Subscribe: %v, want the context's error", err)
			}
			c := r.wantCall("interrupted")
			var silence *natsbroker.SilenceError
			if !errors.As(c.err, &silence) || !silence.Timeout() {
				t.Fatalf("Interrupted(%v), want a *SilenceError", c.err)
			}
			if took := time.Since(start); took > opts.ProbeInterval+opts.ProbeTimeout+2*time.Second {
				t.Fatalf("noticed after %v", took)
			}
			publish(t, b, room, "queued")
			how.heal()
			r.wantCall("resumed")
			var loss *broker.LossError
			if err := b.Flush(within(t, patience)); !errors.As(err, &loss) || loss.Messages == 0 || loss.Messages > 10 || !loss.Uncertain || !errors.As(err, &silence) {
				t.Fatalf("Flush: %v, want up to ten uncertain messages", err)
			}
			publish(t, b, room, "end")
			flush(t, b)
			for i, c := range r.until("end") {
				if c.what != "deliver" || c.payload != large && c.payload != "queued" {
					t.Fatalf("call %d after Resumed: %v", i, c)
				}
			}
			if s := balanced(t, b, losses); s.Uncertain != uint64(loss.Messages) || s.Lost != 0 || s.Interruptions != 1 {
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
	srv := servers.StartNATS(t, nil)
	proxy := tcpproxy.Start(t, srv.Addr())
	sender, listener := open(t, proxy.Addr(), quick()), open(t, srv.URL(), nil)
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
		if c.what != "deliver" || c.payload <= last {
			t.Fatalf("%v came after %s", c, last)
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

// TestRestartUnderLoad kills the server with SIGKILL while 8 goroutines publish
// through two brokers, and starts it again, three times.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	type node struct {
		b      *natsbroker.Broker
		r      *recorder
		losses *lossLog
	}
	var nodes [2]node
	for i := range nodes {
		n := &nodes[i]
		n.b, n.r = open(t, srv.URL(), quick()), record(t)
		n.losses = watchLosses(t, n.b)
		subscribe(t, n.b, n.r, broker.Native.EveryRoom("/"))
	}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	for i := range nodes {
		for g := range 4 {
			sending.Go(func() {
				ch := broker.Native.Room("/", fmt.Sprint(i, " ", g))
				for seq := 0; ; seq++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(rand.IntN(200)) * time.Microsecond):
					}
					if err := nodes[i].b.Publish(context.Background(), ch, fmt.Appendf(nil, "%08d", seq)); err != nil {
						t.Errorf("Publish: %v", err)
						return
					}
				}
			})
		}
	}
	for round := range 3 {
		for _, n := range nodes {
			for seen := 0; seen < 200; seen++ { // the load is there
				n.r.next()
			}
		}
		srv.Kill()
		srv.Restart()
		for _, n := range nodes {
			for c := n.r.next(); c.what != "resumed"; c = n.r.next() {
			}
		}
		_ = round
	}
	close(stop)
	sending.Wait()
	for _, n := range nodes {
		var loss *broker.LossError
		if err := n.b.Flush(within(t, patience)); err != nil && !errors.As(err, &loss) {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		publish(t, n.b, marker, fmt.Sprint("end ", i))
		flush(t, n.b)
	}
	for i, n := range nodes {
		last := map[broker.Channel]string{}
		for _, c := range n.r.until(fmt.Sprint("end ", 1-i)) {
			if c.what == "deliver" && c.ch != marker {
				if c.payload <= last[c.ch] {
					t.Fatalf("%v after %s", c, last[c.ch])
				}
				last[c.ch] = c.payload
			}
		}
		if len(last) != 8 {
			t.Errorf("node %d heard %d of 8 senders after the last outage", i, len(last))
		}
		s := balanced(t, n.b, n.losses)
		if s.Interruptions != 3 || s.Lost != 0 || s.QueuedMessages != 0 {
			t.Errorf("node %d: Stats %+v", i, s)
		}
		t.Logf("node %d: %d accepted, %d uncertain", i, s.Accepted, s.Uncertain)
	}
}
