// Package custombroker is a whole broker in 200 lines, to be read: nodes on one machine that send each other datagrams
// through Unix sockets in a directory. There is no server, and no connection that could break. Package brokerkit has
// the rest: an outbox for published messages, and subscriptions with their filters and queues.
package custombroker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

const (
	maxPayload = 64 << 10
	maxFrame   = maxPayload + 2*broker.MaxNameLen + 255 + header
	header     = 8 + 1 + 1 + 2 + 2 // number, kind, lengths of protocol, namespace and name
	// The sender waits for patience for a node whose queue is full, and tries again after each pause. Then that node
	// misses messages until it has room.
	patience, pause = 2 * time.Second, time.Millisecond
)

var errMissed = errors.New("custom broker: this node is too slow for another node's messages")

// Broker is one node's socket in the directory that all nodes share.
type Broker struct {
	*brokerkit.Outbox[struct{}] // for published messages: Flush, OnLoss
	*brokerkit.Subscriptions    // for received messages: Subscribe
	dir, path                   string
	conn                        *net.UnixConn
	reader                      sync.WaitGroup
	number                      uint64          // of the last message; the outbox's lock guards it
	slow                        map[string]bool // nodes that missed the last message: the sender does not wait for them
	sending                     context.Context // of Serve
}

// New makes a broker with a socket in dir. Paths of sockets may have about 100 bytes.
func New(dir string) (*Broker, error) {
	path := filepath.Join(dir, rand.Text())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	conn.SetWriteBuffer(4 << 20)
	b := &Broker{dir: dir, path: path, conn: conn, slow: map[string]bool{}}
	b.Outbox = brokerkit.NewOutbox[struct{}](brokerkit.OutboxOptions{Name: "custom broker"}, b)
	b.Subscriptions = brokerkit.NewSubscriptions(brokerkit.SubscriptionsOptions{})
	b.Wake() // starts the sender
	b.reader.Go(b.read)
	return b, nil
}

// Publish puts the encoded message into the outbox. It does not keep the caller's slice [B7].
func (b *Broker) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if err := cmp.Or(ctx.Err(), ch.Validate()); err != nil { // [B19, B5]
		return err
	}
	if len(payload) > maxPayload {
		return &broker.PayloadError{Size: len(payload), Max: maxPayload}
	}
	size := brokerkit.Size{Payload: len(payload), Wire: header + len(ch.Protocol().String()) + len(ch.Namespace()) + len(ch.Name()) + len(payload)}
	return b.Put(ctx, size, struct{}{}, func(buf []byte) []byte {
		b.number++
		return encode(buf, b.number, ch, payload)
	})
}

// Connect implements brokerkit.Connector: the socket is always connected.
func (b *Broker) Connect(context.Context) (brokerkit.Connection, error) { return b, nil }

// Serve implements brokerkit.Connection.
func (b *Broker) Serve(ctx context.Context, _ time.Duration) error {
	b.sending = ctx
	b.Send(b, func() bool { return b.AwaitWork(ctx) })
	if ctx.Err() == nil && !b.Done() {
		return errWrite // the sender tries again after a pause
	}
	return nil
}

var errWrite = errors.New("custom broker: the directory of the sockets cannot be read")

// Write implements brokerkit.Writer. Every node that is already subscribed has a socket [B1].
func (b *Broker) Write(batch *brokerkit.Batch[struct{}]) (n int, _ error) {
	for _, frame := range batch.All() {
		sockets, err := os.ReadDir(b.dir)
		if err = cmp.Or(err, b.sending.Err()); err != nil { // closed at once: the others are lost
			return n, err
		}
		for _, to := range sockets {
			b.give(filepath.Join(b.dir, to.Name()), frame)
		}
		b.Settle(1, nil)
		n++
	}
	return n, nil
}

// give sends a datagram to one socket. A node without room notices the missing number.
func (b *Broker) give(to string, frame []byte) {
	addr := &net.UnixAddr{Name: to, Net: "unixgram"}
	for began := time.Now(); ; {
		b.conn.SetWriteDeadline(time.Now().Add(pause))
		_, err := b.conn.WriteToUnix(frame, addr)
		if !errors.Is(err, os.ErrDeadlineExceeded) { // sent, or the node has left
			delete(b.slow, to)
			return
		}
		if b.slow[to] || b.sending.Err() != nil || time.Since(began) > patience {
			b.slow[to] = true
			return
		}
	}
}

// read delivers received messages. It reports a gap in a node's numbers in its place [B14].
func (b *Broker) read() {
	buf, last := make([]byte, maxFrame), map[string]uint64{}
	for {
		n, from, err := b.conn.ReadFromUnix(buf)
		if err != nil {
			return // closed
		}
		number, ch, payload := decode(buf[:n])
		if from == nil || ch.Validate() != nil {
			continue // not from a node of this fleet
		}
		if before, known := last[from.Name]; known && number != before+1 {
			b.Interrupt(errMissed)
			b.Resume()
		}
		last[from.Name] = number
		b.Deliver(ch, slices.Clone(payload))
	}
}

// Close sends the queued messages, ends the subscriptions and removes the socket.
func (b *Broker) Close(ctx context.Context) error {
	err := errors.Join(b.Outbox.Close(ctx), b.Subscriptions.Close(ctx))
	os.Remove(b.path)
	b.conn.Close()
	b.reader.Wait()
	return err
}

// Capabilities: no node knows the subscriptions of others, and there is no connection to restore.
func (b *Broker) Capabilities() broker.Capabilities {
	return broker.Capabilities{Name: "custom", MaxPayload: maxPayload, OrderAcrossChannels: true}
}

func (b *Broker) Subscribers(context.Context, ...broker.Channel) ([]int, error) {
	return nil, errors.ErrUnsupported
}

func (b *Broker) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

func (b *Broker) Stats() (s broker.Stats) {
	b.Outbox.Fill(&s)
	b.Subscriptions.Fill(&s)
	return s
}

func encode(f []byte, number uint64, ch broker.Channel, payload []byte) []byte {
	protocol, ns, name := ch.Protocol().String(), ch.Namespace(), ch.Name()
	f = append(binary.BigEndian.AppendUint64(f, number), byte(ch.Kind()), byte(len(protocol)))
	f = binary.BigEndian.AppendUint16(f, uint16(len(ns)))
	f = binary.BigEndian.AppendUint16(f, uint16(len(name)))
	return append(append(append(append(f, protocol...), ns...), name...), payload...)
}

// decode returns the zero Channel for datagrams from other programs.
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
