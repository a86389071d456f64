package tcpproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/conformance/tcpproxy"
)

// echo is a server that sends back its input.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				io.Copy(nc, nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, p *tcpproxy.Proxy) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// ask sends n bytes and waits for their echo.
func ask(nc net.Conn, n int, within time.Duration) error {
	nc.SetDeadline(time.Now().Add(within))
	sent := bytes.Repeat([]byte("ab"), n/2)
	failed := make(chan error, 1)
	go func() {
		_, err := nc.Write(sent)
		failed <- err
	}()
	got := make([]byte, len(sent))
	_, err := io.ReadFull(nc, got)
	if werr := <-failed; err == nil {
		err = werr
	}
	if err == nil && !bytes.Equal(got, sent) {
		err = errors.New("other bytes came back")
	}
	return err
}

const (
	soon   = 10 * time.Second       // for data that must arrive
	moment = 100 * time.Millisecond // for data that must not
)

func TestHalfOpenLosesNothing(t *testing.T) {
	t.Parallel()
	p := tcpproxy.Start(t, echo(t))
	nc := dial(t, p)
	if err := ask(nc, 2, soon); err != nil {
		t.Fatal(err)
	}
	p.HalfOpen()
	if err := ask(nc, 2, moment); !os.IsTimeout(err) {
		t.Fatalf("half-open: %v, want a timeout", err)
	}
	if err := ask(dial(t, p), 2, moment); !os.IsTimeout(err) {
		t.Fatalf("half-open, new connection: %v, want a timeout", err)
	}
	p.Heal()
	nc.SetDeadline(time.Now().Add(soon))
	late := make([]byte, 2)
	if _, err := io.ReadFull(nc, late); err != nil || string(late) != "ab" {
		t.Fatalf("after Heal came %q, %v instead of the data held back", late, err)
	}
}

func TestDelayAndThrottle(t *testing.T) {
	t.Parallel()
	p := tcpproxy.Start(t, echo(t))
	nc := dial(t, p)
	p.Delay(30 * time.Millisecond)
	began := time.Now()
	if err := ask(nc, 2, soon); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("delayed by 30 ms each way, took %v", took)
	}
	p.Delay(0)

	// 100 kB at 1 MB a second take 0.1 s. Both directions work at the same time, so the round trip need not take twice
	// that.
	p.Throttle(1_000_000)
	began = time.Now()
	if err := ask(nc, 100_000, soon); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("100 kB at 1 MB/s took %v", took)
	}
	p.Throttle(0)

	// Waiting data follows the new rule: under the old one this would take an hour.
	p.Delay(time.Hour)
	healed := time.AfterFunc(moment, p.Heal)
	defer healed.Stop()
	if err := ask(nc, 2, soon); err != nil {
		t.Errorf("after Heal: %v", err)
	}
}

func TestDisconnectAndCut(t *testing.T) {
	t.Parallel()
	p := tcpproxy.Start(t, echo(t))
	nc := dial(t, p)
	if err := ask(nc, 2, soon); err != nil {
		t.Fatal(err)
	}
	p.Disconnect()
	if err := ask(nc, 2, soon); err == nil || os.IsTimeout(err) {
		t.Fatalf("disconnected: %v, want an error at once", err)
	}
	nc = dial(t, p)
	if err := ask(nc, 2, soon); err != nil {
		t.Fatalf("a new connection after Disconnect: %v", err)
	}
	p.Cut()
	if err := ask(nc, 2, soon); err == nil || os.IsTimeout(err) {
		t.Fatalf("cut: %v, want an error at once", err)
	}
	if again, err := net.Dial("tcp", p.Addr()); err == nil {
		defer again.Close()
		if err := ask(again, 2, soon); err == nil || os.IsTimeout(err) {
			t.Fatalf("a new connection while cut: %v, want an error at once", err)
		}
	}
	p.Heal()
	if err := ask(dial(t, p), 2, soon); err != nil {
		t.Fatalf("after Heal: %v", err)
	}
	if got := p.Accepted(); got != 3 {
		t.Errorf("accepted %d connections, want 3", got)
	}
}

// A missing server closes the connection. The connection does not hang.
func TestNoServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if err := ask(dial(t, tcpproxy.Start(t, addr)), 2, soon); err == nil || os.IsTimeout(err) {
		t.Fatalf("no server: %v, want an error at once", err)
	}
}

// named is a server that sends its name for each byte.
func named(t *testing.T, name byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				for b := []byte{0}; ; b[0] = 0 {
					if _, err := nc.Read(b); err != nil {
						return
					}
					nc.Write([]byte{name})
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

func TestRetarget(t *testing.T) {
	t.Parallel()
	p := tcpproxy.Start(t, named(t, 'a'))
	who := func(nc net.Conn) string {
		nc.SetDeadline(time.Now().Add(soon))
		b := []byte{'?'}
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, b); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	old := dial(t, p)
	if got := who(old); got != "a" {
		t.Fatalf("led to %s, want a", got)
	}
	p.Retarget(named(t, 'b'))
	if got, fresh := who(old), who(dial(t, p)); got != "a" || fresh != "b" {
		t.Errorf("after Retarget the old connection leads to %s and a new one to %s, want a and b", got, fresh)
	}
}
