// Package tcpproxy is a TCP link that can fail in the ways that networks do: cut, half
// open, slow, throttled. It is for the tests of brokers that speak TCP: put one before
// each server, have each node connect through links of its own, and give them to
// conformance.OverTCP.
//
//	link := tcpproxy.Start(t, server.Addr()) // closed when the test ends
//	b, err := mybroker.Open(link.Addr())
//	...
//	link.HalfOpen() // as a firewall does that has forgotten the connection
//	link.Heal()
//
// It needs nothing beyond the standard library.
package tcpproxy

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP link to a server. It starts out healthy. Methods may be called at any
// time from any goroutine and have taken effect when they return.
type Proxy struct {
	listener net.Listener

	mu       sync.Mutex
	target   string
	changed  chan struct{} // closed and replaced when one of the next fields changes
	cut      bool
	held     bool
	delay    time.Duration
	rate     int // bytes per second and direction; zero: as fast as it goes
	links    map[*link]struct{}
	closed   bool
	accepted int

	wg sync.WaitGroup
}

// link is one client's connection and the proxy's own to the server.
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

// Start is Listen for the goroutine of a test: an error ends the test, and the end of
// the test closes the proxy.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := Listen(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Listen listens on a free loopback port and forwards to target, a host and port, until
// Close. The target need not listen yet. Any goroutine may call it, so it serves the
// Node function of a conformance.System.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("tcpproxy: listen before %s: %w", target, err)
	}
	p := &Proxy{listener: l, target: target, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.wg.Add(1)
	go p.accept()
	return p, nil
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Disconnect closes all connections now. New ones are accepted.
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

// Cut closes all connections and every new one at once, until Heal.
func (p *Proxy) Cut() {
	p.set(func() { p.cut = true; p.disconnect() })
}

// HalfOpen keeps connections, and accepts new ones, but passes nothing on in either
// direction until Heal: like a firewall that has forgotten them. Bytes on the way
// are held back, not lost.
func (p *Proxy) HalfOpen() { p.set(func() { p.held = true }) }

// Delay holds every piece of data, as the proxy happened to read it, back for d in each
// direction before it reads the next; zero ends that.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Throttle passes at most about rate bytes a second on in each direction; zero ends that.
func (p *Proxy) Throttle(rate int) { p.set(func() { p.rate = rate }) }

// Retarget leads new connections to another server and keeps those that stand, as a name
// does that changes, or a load balancer that lets connections end by themselves.
func (p *Proxy) Retarget(target string) { p.set(func() { p.target = target }) }

// Heal ends Cut, HalfOpen, Delay and Throttle. What was held back goes on.
func (p *Proxy) Heal() {
	p.set(func() { p.cut, p.held, p.delay, p.rate = false, false, 0, 0 })
}

// Accepted returns how many connections have been accepted.
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

// serve connects the link to the server and pumps until either side ends.
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
			// A server's farewell must not pass a half-open link either.
			p.admit(l, 0)
			return
		}
	}
}

// admit waits until n bytes may pass; false if the link has ended.
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
		case <-changed: // the new rules apply to what waits
			timer.Stop()
			continue
		case <-l.ended:
			timer.Stop()
			return false
		}
	}
}
