package brokertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
)

// Outages tests a broker while its server, or the link to the server, is lost and restored.
func Outages(t *testing.T, k *Kind) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *Kind)
	}{
		{"GoneAtTheStart", goneAtTheStart},
		{"CrashInTheMiddle", crashInTheMiddle},
		{"Silence", silence},
		{"NothingIsSentTwice", nothingIsSentTwice},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, k)
		})
	}
}

func goneAtTheStart(t *testing.T, k *Kind) {
	srv := k.Start(t)
	srv.Kill()
	b := k.Open(t, srv.Addr())
	losses := WatchLosses(t, b)

	start := time.Now()
	_, err := b.Subscribe(Within(t, Patience), Record(t), broker.Exactly(k.room()))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), srv.Addr()) {
		t.Fatalf("Subscribe: %v, want a refused connection with its address", err)
	}
	if b.Capabilities().CountsSubscribers {
		if _, err := b.Subscribers(Within(t, Patience), k.room()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("Subscribers: %v, want a refused connection", err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Fatalf("the errors took %v", took)
	}
	Publish(t, b, k.room(), "waits")
	if err := b.Flush(Within(t, 50*time.Millisecond)); err != context.DeadlineExceeded {
		t.Fatalf("Flush: %v, want the context's error", err)
	}

	srv.Restart()
	Flush(t, b)
	r := Record(t)
	Subscribe(t, b, r, broker.Exactly(k.room()))
	Publish(t, b, k.room(), "after")
	r.Want(k.room(), "after")
	Flush(t, b)
	if s := Balanced(t, b, losses); s.Sent != 2 || s.Interruptions != 0 {
		t.Fatalf("Stats %+v", s)
	}
}

// crashInTheMiddle kills the server and starts it again, several times.
func crashInTheMiddle(t *testing.T, k *Kind) {
	srv := k.Start(t)
	b := k.Open(t, srv.Addr())
	losses := WatchLosses(t, b)
	r, second := Record(t), Record(t)
	Subscribe(t, b, r, k.Protocol.EveryRoom("/"), broker.Exactly(broker.Control()))
	Subscribe(t, b, second, broker.Exactly(k.room()))
	empty := Record(t)
	Subscribe(t, b, empty)
	const rounds, meanwhile = 3, 5
	for round := range rounds {
		before := fmt.Sprint("before ", round)
		Publish(t, b, k.room(), before)
		Flush(t, b)
		r.Want(k.room(), before)
		second.Want(k.room(), before)
		doubtful := b.Stats().Uncertain

		srv.Kill()
		if c := r.WantCall("interrupted"); !errors.Is(c.Err, io.EOF) && !errors.Is(c.Err, syscall.ECONNRESET) || !strings.Contains(c.Err.Error(), srv.Addr()) {
			t.Fatalf("Interrupted(%v), want the lost connection", c.Err)
		}
		second.WantCall("interrupted")
		for i := range meanwhile {
			Publish(t, b, k.room(), fmt.Sprint("meanwhile ", i))
		}
		// Subscribe waits for the server, and fails only with its context.
		if _, err := b.Subscribe(Within(t, 20*time.Millisecond), Record(t), broker.Exactly(k.marker())); err != context.DeadlineExceeded {
			t.Fatalf("Subscribe during the outage: %v, want the context's error", err)
		}
		late := make(chan error, 1)
		lateReceiver := Record(t)
		go func() {
			sub, err := b.Subscribe(Within(t, Patience), lateReceiver, broker.Exactly(k.marker()))
			if err == nil {
				defer sub.Close(context.Background())
				b.Publish(context.Background(), k.marker(), []byte("late"))
				if c, _ := lateReceiver.NextWithin(Patience); c.Payload != "late" {
					err = fmt.Errorf("it got %v", c)
				}
			}
			late <- err
		}()
		srv.Restart()
		r.WantCall("resumed")
		second.WantCall("resumed")
		if err := <-late; err != nil {
			t.Fatalf("Subscribe that waited for the end of the outage: %v", err)
		}
		Publish(t, b, k.room(), "end of round")
		var loss *broker.LossError
		if err := b.Flush(Within(t, Patience)); err != nil && !errors.As(err, &loss) {
			t.Fatal(err)
		}
		doubtful = b.Stats().Uncertain - doubtful
		for i, got := range [][]Call{r.Until("end of round"), second.Until("end of round")} {
			came, next := 0, 0
			for _, c := range got {
				var n int
				if _, err := fmt.Sscanf(c.Payload, "meanwhile %d", &n); err == nil && c.What == "deliver" && n >= next {
					came, next = came+1, n+1
				} else if c.What != "deliver" || c.Payload != "late" {
					t.Fatalf("after Resumed receiver %d got %v", i, c)
				}
			}
			if came+int(doubtful) < meanwhile {
				t.Fatalf("receiver %d got %d of the %d messages of the outage, %d are in doubt", i, came, meanwhile, doubtful)
			}
		}
	}
	s := Balanced(t, b, losses)
	if s.Lost != 0 || s.Uncertain > rounds*k.InDoubt || s.QueuedMessages != 0 || s.Interruptions != 2*rounds || s.Interrupted <= 0 {
		t.Fatalf("Stats %+v", s)
	}
	empty.WantNothing() // it has no filters
}

// silence freezes the server, and makes the link half-open. The broker notices both, and no other call waits for them.
func silence(t *testing.T, k *Kind) {
	srv := k.Start(t)
	proxy := tcpproxy.Start(t, srv.Addr())
	// One after the other, because they share one server.
	for _, how := range []struct {
		name       string
		stop, heal func()
	}{
		{"frozen server", srv.Freeze, srv.Thaw},
		{"half-open link", proxy.HalfOpen, proxy.Heal},
	} {
		t.Run(how.name, func(t *testing.T) { silent(t, k, proxy.Addr(), how.stop, how.heal, false) })
		t.Run(how.name+" with large messages", func(t *testing.T) { silent(t, k, proxy.Addr(), how.stop, how.heal, true) })
	}
}

func silent(t *testing.T, k *Kind, addr string, stop, heal func(), large bool) {
	b := k.Open(t, addr)
	losses := WatchLosses(t, b)
	r := Record(t)
	Subscribe(t, b, r, broker.Exactly(k.room()))
	Publish(t, b, k.room(), "before")
	Flush(t, b)
	r.Want(k.room(), "before")
	counts := b.Capabilities().CountsSubscribers
	if counts {
		if _, err := b.Subscribers(Within(t, Patience), k.room()); err != nil {
			t.Fatal(err)
		}
	}

	start := time.Now()
	stop()
	// The server may respond until the signal has reached it.
	Eventually(t, func() error {
		Publish(t, b, k.marker(), "the first without a response")
		if err := b.Flush(Within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
			return fmt.Errorf("Flush: %v, want the context's error", err)
		}
		return nil
	})
	const n = 10
	text := "uncertain "
	if large { // more than the system accepts at once, so that a write would have to wait
		text = strings.Repeat("x", 512<<10)
	}
	publishing := time.Now()
	for i := range n {
		Publish(t, b, k.room(), fmt.Sprint(text, i))
	}
	if took := time.Since(publishing); took > time.Second {
		t.Fatalf("publishing to a dead link took %v", took)
	}
	if _, err := b.Subscribe(Within(t, 20*time.Millisecond), Record(t), broker.Exactly(k.marker())); err != context.DeadlineExceeded {
		t.Fatalf("Subscribe: %v, want the context's error", err)
	}
	if counts {
		if _, err := b.Subscribers(Within(t, 20*time.Millisecond), k.room()); err != context.DeadlineExceeded {
			t.Fatalf("Subscribers: %v, want the context's error", err)
		}
	}
	if c := r.WantCall("interrupted"); !k.Silent(c.Err) {
		t.Fatalf("Interrupted(%v), want an unresponsive server", c.Err)
	}
	if took := time.Since(start); took > k.Notices+2*time.Second {
		t.Fatalf("noticed after %v", took)
	}
	inDoubt := func() int {
		err := b.Flush(Within(t, Patience))
		var loss *broker.LossError
		switch {
		case err == nil:
			return 0
		case !errors.As(err, &loss) || !loss.Uncertain || !k.Silent(err):
			t.Fatalf("Flush: %v, want uncertain messages because of an unresponsive server", err)
		}
		return loss.Messages
	}
	uncertain := 0
	if !large { // all were in flight, so the number is known before the server is back
		if uncertain = inDoubt(); uncertain != 1+n {
			t.Fatalf("%d messages are uncertain, want %d", uncertain, 1+n)
		}
	}
	// A broker may publish over another connection than the one with its subscriptions. The broker must give up both.
	// Otherwise held back messages continue before any node is subscribed.
	Eventually(t, func() error {
		if b.Stats().Uncertain == 0 {
			return errors.New("no message is uncertain")
		}
		return nil
	})
	Publish(t, b, k.room(), "queued")
	heal()
	r.WantCall("resumed")
	if large { // most of them wait
		uncertain = inDoubt()
	}
	Publish(t, b, k.room(), "end")
	Flush(t, b)
	seen := map[string]int{}
	for i, c := range r.Until("end") {
		if seen[c.Payload]++; seen[c.Payload] > 1 || c.What != "deliver" || c.Payload != "queued" && !strings.HasPrefix(c.Payload, text) {
			t.Fatalf("call %d after Resumed: %v", i, c)
		}
	}
	if came := len(seen); seen["queued"] != 1 || came+uncertain < n+1 {
		t.Fatalf("%d of %d messages arrived, %d are uncertain", came, n+1, uncertain)
	}
	if s := Balanced(t, b, losses); s.Uncertain != uint64(uncertain) || s.Lost != 0 || s.Interruptions != 1 {
		t.Fatalf("Stats %+v, want %d uncertain", s, uncertain)
	}
}

// nothingIsSentTwice breaks the connection repeatedly under a steady load. No message may arrive twice or out of
// order, the missing messages may not be more than the uncertain ones, and all must be accounted for.
func nothingIsSentTwice(t *testing.T, k *Kind) {
	srv := k.Start(t)
	proxy := tcpproxy.Start(t, srv.Addr())
	sender, listener := k.Open(t, proxy.Addr()), k.Open(t, srv.Addr())
	losses := WatchLosses(t, sender)
	r := Record(t)
	Subscribe(t, listener, r, broker.Exactly(k.room()), broker.Exactly(k.marker()))
	var blows atomic.Int64
	stop := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for sent := uint64(0); ; {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond): // of load
			}
			s := sender.Stats().Sent
			if s == sent {
				continue // not yet recovered from the last cut
			}
			sent = s
			if blows.Add(1)%3 == 1 {
				proxy.Throttle(1 << 20) // so that the next cut finds messages in flight
			} else {
				proxy.Disconnect()
				proxy.Heal()
			}
		}
	})
	load := time.NewTicker(time.Millisecond)
	defer load.Stop()
	n := 0
	for ; blows.Load() < 15; n++ {
		if n%20 == 0 {
			<-load.C
		}
		Publish(t, sender, k.room(), fmt.Sprintf("%08d", n))
	}
	close(stop)
	cutting.Wait()
	proxy.Heal()
	var loss *broker.LossError
	if err := sender.Flush(Within(t, Patience)); err != nil && !errors.As(err, &loss) {
		t.Fatal(err)
	}
	Publish(t, listener, k.marker(), "end")
	arrived, last := 0, ""
	for _, c := range r.Until("end") {
		if c.What != "deliver" || c.Payload <= last {
			t.Fatalf("%v came after %s", c, last)
		}
		last = c.Payload
		arrived++
	}
	Flush(t, sender)
	s := Balanced(t, sender, losses)
	if uint64(n-arrived) > s.Uncertain || s.Lost != 0 || s.Accepted != uint64(n) {
		t.Fatalf("%d of %d arrived; Stats %+v", arrived, n, s)
	}
	if s.Uncertain == 0 {
		t.Fatal("no cut hit a message on the wire: the test shows nothing")
	}
	t.Logf("%d cuts, %d uncertain, %d missing", proxy.Accepted()-1, s.Uncertain, n-arrived)
}
