package backplane

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// Crossroom nodes announce themselves to each other on the broker's control
// channel, in one small frame each:
//
//	[1, kind, id, since, revision, [[wire, namespace, speaks], …], number]
//
// since is when the node was made, in nanoseconds of Unix time, and tells two lives
// of one id apart. revision counts changes of the list of namespaces. The list is
// nil except in hello and full. number counts a node's frames, for its own lease; ask has
// none.
type controlKind uint8

const (
	// controlHello: here I am (again), and who are you?
	controlHello controlKind = iota + 1
	// controlFull: this is me. The answer to hello and ask.
	controlFull
	// controlBeat: I live; nothing has changed since that revision.
	controlBeat
	// controlAsk: I do not know the revision of the node named in id; let it say
	// full. since and revision are zero.
	controlAsk
	// controlBye: I leave.
	controlBye
)

const controlVersion = 1

type controlFrame struct {
	version    int // when decoded
	kind       controlKind
	id         string
	since      int64
	revision   uint64
	namespaces []spoken
	number     uint64
}

// spoken is a namespace that a node serves, and what its codec said in Hello.
type spoken struct {
	key    nsKey
	speaks string
}

func (f *controlFrame) append(dst []byte) []byte {
	numbered := f.number > 0
	if numbered {
		dst = msgpack.AppendArrayLen(dst, 7)
	} else {
		dst = msgpack.AppendArrayLen(dst, 6)
	}
	dst = msgpack.AppendInt(dst, controlVersion)
	dst = msgpack.AppendInt(dst, int64(f.kind))
	dst = msgpack.AppendString(dst, f.id)
	dst = msgpack.AppendInt(dst, f.since)
	dst = msgpack.AppendUint(dst, f.revision)
	if f.kind == controlHello || f.kind == controlFull {
		dst = f.appendNamespaces(dst)
	} else {
		dst = msgpack.AppendNil(dst)
	}
	if numbered {
		dst = msgpack.AppendUint(dst, f.number)
	}
	return dst
}

func (f *controlFrame) appendNamespaces(dst []byte) []byte {
	dst = msgpack.AppendArrayLen(dst, len(f.namespaces))
	for _, s := range f.namespaces {
		dst = msgpack.AppendArrayLen(dst, 3)
		dst = msgpack.AppendInt(dst, int64(s.key.wire))
		dst = msgpack.AppendString(dst, s.key.name)
		dst = msgpack.AppendString(dst, s.speaks)
	}
	return dst
}

var errControl = errors.New("not a control frame")

// decode reads a frame. Later versions may add elements at the end, of the frame
// and of a namespace's entry.
func (f *controlFrame) decode(payload []byte) error {
	r := msgpack.NewReader(payload)
	n, err := r.ArrayLen()
	if err != nil {
		return err
	}
	if n < 6 {
		return errControl
	}
	version, err := r.Int()
	if err != nil {
		return err
	}
	if version < controlVersion || version > math.MaxInt32 {
		return fmt.Errorf("%w: version %d", errControl, version)
	}
	f.version = int(version)
	kind, err := r.Uint()
	if err != nil {
		return err
	}
	if kind == 0 || kind > uint64(controlBye) {
		return fmt.Errorf("%w: kind %d", ErrIgnored, kind)
	}
	f.kind = controlKind(kind)
	if f.id, err = r.String(); err != nil {
		return err
	}
	if f.id == "" || len(f.id) > 128 {
		return fmt.Errorf("%w: id of %d bytes", errControl, len(f.id))
	}
	if f.since, err = r.Int(); err != nil {
		return err
	}
	if f.revision, err = r.Uint(); err != nil {
		return err
	}
	f.namespaces, f.number = nil, 0
	if !r.TryNil() {
		if err := f.decodeNamespaces(&r); err != nil {
			return err
		}
	}
	if n > 6 && r.Kind() == msgpack.Int {
		f.number, _ = r.Uint()
	}
	return nil
}

func (f *controlFrame) decodeNamespaces(r *msgpack.Reader) error {
	count, err := r.ArrayLen()
	if err != nil {
		return err
	}
	f.namespaces = make([]spoken, 0, min(count, r.Len()/4))
	for range count {
		s, err := decodeSpoken(r)
		if err != nil {
			return err
		}
		f.namespaces = append(f.namespaces, s)
	}
	return nil
}

func decodeSpoken(r *msgpack.Reader) (s spoken, err error) {
	n, err := r.ArrayLen()
	if err != nil {
		return s, err
	}
	if n < 3 {
		return s, errControl
	}
	wire, err := r.Uint()
	if err != nil {
		return s, err
	}
	if wire > 255 {
		return s, errControl
	}
	s.key.wire = broker.Wire(wire)
	if s.key.name, err = r.String(); err != nil {
		return s, err
	}
	if s.speaks, err = r.String(); err != nil {
		return s, err
	}
	for range n - 3 {
		if err := r.Skip(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// announce publishes a frame about this node.
func (n *Node) announce(ctx context.Context, kind controlKind) error {
	f := controlFrame{kind: kind, id: n.id, since: n.since.UnixNano(), number: n.lease.next()}
	n.mu.Lock()
	f.revision = n.revision
	for key, ns := range n.namespaces {
		f.namespaces = append(f.namespaces, spoken{key, ns.codec.Hello()})
	}
	n.mu.Unlock()
	return n.broker.Publish(ctx, broker.Control(), f.append(nil))
}

// beat is the goroutine that announces the node, at every heartbeat and whenever soon
// asks for more, and that asks silent nodes for a sign of life. While the control channel
// is down it says nothing, so that no stale signs of life gather in the broker's queue.
func (n *Node) beat() {
	defer close(n.silent)
	tick := time.NewTicker(n.opts.Heartbeat)
	defer tick.Stop()
	for {
		kind, silent := controlBeat, ""
		select {
		case <-n.life.Done():
			return
		case <-tick.C:
		case <-n.beats:
		case silent = <-n.silents:
		}
		n.mu.Lock()
		down := n.linkDown
		if n.due != 0 && !down && silent == "" {
			kind, n.due = n.due, 0
		}
		n.mu.Unlock()
		if down {
			continue
		}
		if silent != "" {
			n.askFull(silent)
			continue
		}
		ctx, cancel := context.WithTimeout(n.life, n.opts.Heartbeat)
		if err := n.announce(ctx, kind); err != nil && ctx.Err() == nil && !errors.Is(err, broker.ErrClosed) {
			n.reports.report(err)
		}
		cancel()
	}
}

// soon has the beat goroutine send a hello or full frame. A hello is a full frame
// too.
func (n *Node) soon(kind controlKind) {
	n.mu.Lock()
	if n.due != controlHello {
		n.due = kind
	}
	n.mu.Unlock()
	signal(n.beats)
}

// askFull wants a full frame of a node.
func (n *Node) askFull(id string) {
	ctx, cancel := context.WithTimeout(n.life, n.opts.Heartbeat)
	defer cancel()
	f := controlFrame{kind: controlAsk, id: id}
	_ = n.broker.Publish(ctx, broker.Control(), f.append(nil)) // the next beat asks again
}
