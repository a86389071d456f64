// Package tcpproxy is a TCP link that fails like a network: cut, half-open, slow or throttled. It is for the tests of
// brokers that speak TCP. Put one before each server, let each node connect through links of its own, and pass the
// links to conformance.OverTCP.
//
//	link := tcpproxy.Start(t, server.Addr()) // closed when the test ends
//	b, err := mybroker.Open(link.Addr())
//	...
//	link.HalfOpen() // like a firewall that has dropped the connection's state
//	link.Heal()
//
// The package needs only the standard library.
package tcpproxy

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP link to a server. It starts out healthy. Methods may be called at any time from any goroutine, and
// have taken effect when they return.
type Proxy struct {
	listener net.Listener

	mu       sync.Mutex
	target   string
	changed  chan struct{} // closed and replaced when one of the next fields changes
	cut      bool
	held     bool
	delay    time.Duration
	rate     int // bytes per second and direction; zero: unlimited
	links    map[*link]struct{}
	closed   bool
	accepted int

	wg sync.WaitGroup
}

// link is one client's connection, with the proxy's connection to the server.
type link struct {
	client, server net.Conn
	ended          chan struct{}
	once           sync.Once
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.ended)
		l.client.Close()
		if l.server != nil {
			l.server.Close()
		}
	})
}

// Start is Listen for the goroutine of a test: an error ends the test, and the end of the test closes the proxy.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := Listen(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Listen listens on a free loopback port and forwards connections to target, a host and port, until Close. The target
// need not listen yet. Listen may be called from any goroutine, so it serves the Node function of a
// conformance.System. It returns the error of net.Listen.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("tcpproxy: listening for target %s: %w", target, err)
	}
	p := &Proxy{listener: l, target: target, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.wg.Add(1)
	go p.accept()
	return p, nil
}

// Addr returns the proxy's own address.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Disconnect closes all current connections. New ones are accepted.
func (p *Proxy) Disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disconnect()
}

func (p *Proxy) disconnect() {
	for l := range p.links {
		l.close()
	}
}

// Cut closes all connections, and each new one immediately, until Heal.
func (p *Proxy) Cut() {
	p.set(func() { p.cut = true; p.disconnect() })
}

// HalfOpen keeps connections and accepts new ones, but forwards nothing in either direction until Heal, like a
// firewall that has dropped their state. Bytes in flight are held back, not lost.
func (p *Proxy) HalfOpen() { p.set(func() { p.held = true }) }

// Delay delays each chunk of data by d in each direction before the proxy reads the next. Zero ends the delay.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Throttle forwards at most about rate bytes a second in each direction. Zero ends the limit.
func (p *Proxy) Throttle(rate int) { p.set(func() { p.rate = rate }) }

// Retarget leads new connections to another server and keeps existing ones, like a changed DNS record, or a load
// balancer that drains connections.
func (p *Proxy) Retarget(target string) { p.set(func() { p.target = target }) }

// Heal ends Cut, HalfOpen, Delay and Throttle. Data that was held back is forwarded.
func (p *Proxy) Heal() {
	p.set(func() { p.cut, p.held, p.delay, p.rate = false, false, 0, 0 })
}

// Accepted returns the number of accepted connections.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close closes the listener and all connections, and waits for the proxy's goroutines.
func (p *Proxy) Close() {
	p.listener.Close()
	p.set(func() { p.closed = true; p.disconnect() })
	p.wg.Wait()
}

func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.cut || p.closed {
			p.mu.Unlock()
			client.Close()
			continue
		}
		p.accepted++
		l := &link{client: client, ended: make(chan struct{})}
		p.links[l] = struct{}{}
		p.wg.Add(1)
		target := p.target
		p.mu.Unlock()
		go p.serve(l, target)
	}
}

// serve connects the link to the server and copies data until either side ends.
func (p *Proxy) serve(l *link, target string) {
	defer p.wg.Done()
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	p.mu.Lock()
	select {
	case <-l.ended: // disconnected meanwhile
		server.Close()
	default:
		l.server = server
	}
	p.mu.Unlock()
	if l.server == nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, l.server, l.client) })
	both.Go(func() { p.pump(l, l.client, l.server) })
	both.Wait()
}

// pump copies one direction.
func (p *Proxy) pump(l *link, to, from net.Conn) {
	defer l.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.admit(l, n) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			// The end of the server's stream must not pass a half-open link either.
			p.admit(l, 0)
			return
		}
	}
}

// admit waits until n bytes may pass. It returns false if the link has ended.
func (p *Proxy) admit(l *link, n int) bool {
	for {
		p.mu.Lock()
		held, changed, delay, rate := p.held, p.changed, p.delay, p.rate
		p.mu.Unlock()
		if held {
			select {
			case <-changed:
				continue
			case <-l.ended:
				return false
			}
		}
		wait := delay
		if rate > 0 {
			wait += time.Duration(n) * time.Second / time.Duration(rate)
		}
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			return true
		case <-changed: // the new rules apply to waiting data
			timer.Stop()
			continue
		case <-l.ended:
			timer.Stop()
			return false
		}
	}
}
