// Package custombroker is a whole broker in 200 lines, to be read: nodes on one machine
// that send each other datagrams through Unix sockets in a directory. What is in the
// directory is who is there, and the kernel's queue of each socket is the queue between
// nodes; there is no server and no connection that could break.
//
// What goes on inside a node is left to a memory broker: it has the subscriptions, their
// filters and queues, tells them of gaps, and ends in good order.
package custombroker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

const (
	maxPayload = 64 << 10
	maxFrame   = maxPayload + 2*broker.MaxNameLen + 255 + header
	header     = 8 + 1 + 1 + 2 + 2 // number, kind, lengths of protocol, namespace and name
	// A node whose queue is full is waited for so long, looking again in pauses; then it
	// misses messages until it has room.
	patience, pause = 2 * time.Second, time.Millisecond
)

var errMissed = errors.New("custom broker: this node was too slow for another one's messages")

// Broker is one node's socket in the directory that all share.
type Broker struct {
	*memorybroker.Broker                      // has the subscriptions
	in                   *memorybroker.Broker // publishes to them what the socket brings
	dir, path            string
	conn                 *net.UnixConn
	reader               sync.WaitGroup

	turn   chan struct{}   // full while somebody publishes: one at a time, and in order
	number atomic.Uint64   // of the last message
	slow   map[string]bool // who has missed the last message and is not waited for
}

// New makes a broker with a socket in dir. Paths of sockets may have 100 bytes or so.
func New(dir string) (*Broker, error) {
	path := filepath.Join(dir, rand.Text())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	conn.SetWriteBuffer(4 << 20)
	bus := memorybroker.NewBus(&memorybroker.Options{SlowReceiver: pause, MaxPayload: maxPayload})
	b := &Broker{Broker: bus.Broker(), in: bus.Broker(), dir: dir, path: path, conn: conn,
		turn: make(chan struct{}, 1), slow: map[string]bool{}}
	b.reader.Go(b.read)
	return b, nil
}

// Publish gives the message to every socket that is there now. The caller's slice is
// not kept [B7], and who is subscribed by now has a socket [B1].
func (b *Broker) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if err := ch.Validate(); err != nil {
		return err
	}
	if len(payload) > maxPayload {
		return &broker.PayloadError{Size: len(payload), Max: maxPayload}
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := b.Flush(ctx); err != nil { // nothing waits there: an ended context [B19], or closed [B21]
		return err
	}
	sockets, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	frame := encode(b.number.Add(1), ch, payload)
	for _, to := range sockets {
		b.give(ctx, filepath.Join(b.dir, to.Name()), frame)
	}
	return nil
}

// give sends a datagram to one socket. If it cannot take it the node there will see that
// a number is missing.
func (b *Broker) give(ctx context.Context, to string, frame []byte) {
	addr := &net.UnixAddr{Name: to, Net: "unixgram"}
	for began := time.Now(); ; {
		b.conn.SetWriteDeadline(time.Now().Add(pause))
		_, err := b.conn.WriteToUnix(frame, addr)
		if !errors.Is(err, os.ErrDeadlineExceeded) { // sent, or nobody is there any more
			delete(b.slow, to)
			return
		}
		if b.slow[to] || ctx.Err() != nil || time.Since(began) > patience {
			b.slow[to] = true
			return
		}
	}
}

// read passes on what comes. A gap in a node's numbers is told in its place [B14].
func (b *Broker) read() {
	buf, last := make([]byte, maxFrame), map[string]uint64{}
	for {
		n, from, err := b.conn.ReadFromUnix(buf)
		if err != nil {
			return // closed
		}
		number, ch, payload := decode(buf[:n])
		if from == nil || ch.Validate() != nil {
			continue // not from one of us
		}
		if before, known := last[from.Name]; known && number != before+1 {
			memorytest.Cut(b.Broker, errMissed)
			memorytest.Heal(b.Broker)
		}
		last[from.Name] = number
		_ = b.in.Publish(context.Background(), ch, payload) // fails only when closed
	}
}

// Close removes the socket and ends the subscriptions. Every message was sent by its Publish.
func (b *Broker) Close(ctx context.Context) error {
	err := errors.Join(b.Broker.Close(ctx), b.in.Close(ctx))
	select { // let a Publish come to its end
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
	}
	os.Remove(b.path)
	b.conn.Close()
	b.reader.Wait()
	return err
}

// Capabilities: nobody knows what others subscribe to, and there is nothing to reconnect to.
func (b *Broker) Capabilities() broker.Capabilities {
	return broker.Capabilities{Name: "custom", MaxPayload: maxPayload, OrderAcrossChannels: true}
}

func (b *Broker) Subscribers(context.Context, ...broker.Channel) ([]int, error) {
	return nil, errors.ErrUnsupported
}

func (b *Broker) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

// Stats are the memory broker's, except that it does not see what is sent.
func (b *Broker) Stats() broker.Stats {
	s := b.Broker.Stats()
	s.Accepted = b.number.Load()
	s.Sent = s.Accepted
	return s
}

func encode(number uint64, ch broker.Channel, payload []byte) []byte {
	protocol, ns, name := ch.Protocol().String(), ch.Namespace(), ch.Name()
	f := append(binary.BigEndian.AppendUint64(nil, number), byte(ch.Kind()), byte(len(protocol)))
	f = binary.BigEndian.AppendUint16(f, uint16(len(ns)))
	f = binary.BigEndian.AppendUint16(f, uint16(len(name)))
	return slices.Concat(f, []byte(protocol), []byte(ns), []byte(name), payload)
}

// decode gives the zero Channel for what nobody here has sent.
func decode(f []byte) (number uint64, ch broker.Channel, payload []byte) {
	if len(f) < header {
		return
	}
	protocol := header + int(f[9])
	ns := protocol + int(binary.BigEndian.Uint16(f[10:]))
	name := ns + int(binary.BigEndian.Uint16(f[12:]))
	if name > len(f) {
		return
	}
	p := broker.NewProtocol(string(f[header:protocol]))
	ch = p.Channel(broker.Kind(f[8]), string(f[protocol:ns]), string(f[ns:name]))
	return binary.BigEndian.Uint64(f), ch, f[name:]
}
