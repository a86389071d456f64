package backplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

const chat = "/chat" // the namespace of all fleets here

// bubble runs a test in virtual time. settle waits until every goroutine of it waits.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if raceEnabled {
		// Two processors that send from timers of one bubble at the same time crash the race detector: golang/go#78156.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, f)
}

func settle() { synctest.Wait() }

// socket is a member that keeps what it receives.
type socket struct {
	id    string
	got   chan *backplane.Message
	gone  chan bool
	reply func(p []byte) []byte // nil: acknowledges with its id
	about []byte                // its description; nil: its id

	// Called first in Deliver and DeliverAck, and in Disconnect; nil for nothing.
	onDeliver, onDisconnect func()
}

func newSocket(id string) *socket {
	return &socket{id: id, got: make(chan *backplane.Message, 4096), gone: make(chan bool, 64)}
}

func (s *socket) ID() string { return s.id }

func (s *socket) Deliver(m *backplane.Message) {
	if s.onDeliver != nil {
		s.onDeliver()
	}
	s.got <- m
}

func (s *socket) Disconnect(close bool) {
	if s.onDisconnect != nil {
		s.onDisconnect()
	}
	s.gone <- close
}

func (s *socket) Describe() []byte {
	if s.about != nil {
		return s.about
	}
	return []byte("I am " + s.id)
}

func (s *socket) DeliverAck(m *backplane.Message, ack func([]byte)) {
	s.Deliver(m)
	if s.reply != nil {
		ack(s.reply(m.Payload))
	} else {
		ack([]byte(s.id))
	}
}

// next waits for one message.
func (s *socket) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-s.got:
		return string(m.Payload)
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing came", s.id)
		return ""
	}
}

// all takes the messages so far.
func (s *socket) all() []string {
	list := []string{}
	for {
		select {
		case m := <-s.got:
			list = append(list, string(m.Payload))
		default:
			return list
		}
	}
}

// noted keeps values from any goroutine.
type noted[E any] struct {
	mu   sync.Mutex
	list []E
}

func (n *noted[E]) add(e E) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, e)
}

// take returns the values so far and removes them.
func (n *noted[E]) take() []E {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

// errorLog keeps the errors that a node reports.
type errorLog struct{ noted[error] }

// reported takes the only reported error, which must be an E.
func reported[E error](t *testing.T, l *errorLog) (e E) {
	t.Helper()
	list := l.take()
	require.Len(t, list, 1, "reported")
	require.ErrorAs(t, list[0], &e, "reported")
	return e
}

// reportedStall is reported for a member that does not return.
func reportedStall(t *testing.T, l *errorLog) *backplane.OpError {
	t.Helper()
	e := reported[*backplane.OpError](t, l)
	require.ErrorIs(t, e, backplane.ErrStalled)
	return e
}

func (l *errorLog) none(t *testing.T) {
	t.Helper()
	assert.Empty(t, l.take(), "reported")
}

// fleet is some nodes with one namespace on a memory bus.
type fleet struct {
	t       *testing.T
	bus     *memorybroker.Bus
	brokers []*memorybroker.Broker
	nodes   []*backplane.Node
	ns      []*backplane.Namespace
	errs    []*errorLog
}

func newFleet(t *testing.T, n int, opts backplane.Options, nsOpts func(i int) *nsOptions) *fleet {
	t.Helper()
	return newFleetOn(t, nil, n, opts, nsOpts)
}

func newFleetOn(t *testing.T, bus *memorybroker.Options, n int, opts backplane.Options, nsOpts func(i int) *nsOptions) *fleet {
	t.Helper()
	f := &fleet{t: t, bus: memorybroker.NewBus(bus)}
	for i := range n {
		o := opts
		o.Name = fmt.Sprintf("n%d", i)
		var no *nsOptions
		if nsOpts != nil {
			no = nsOpts(i)
		}
		f.add(&o, no)
	}
	f.meet()
	return f
}

// nsOptions are all options of a namespace: the public ones and those that package adapter
// sets.
type nsOptions struct {
	Prepare        func(m *backplane.Message)
	OnRequest      func(ctx context.Context, from string, payload []byte) ([]byte, error)
	OnEvent        func(ctx context.Context, from string, payload []byte, reply func([]byte))
	Codec          wire.Codec
	Rooms          any
	OnBroadcast    func(b *wire.Broadcast) bool
	OnBroadcastEnd func()
	OnLink         func(err error)
}

func openNamespace(ctx context.Context, n *backplane.Node, name string, o *nsOptions) (*backplane.Namespace, error) {
	if o == nil {
		return n.Namespace(ctx, name, nil)
	}
	ns, err := wire.NodeOf(n).Open(ctx, name,
		&backplane.NamespaceOptions{Prepare: o.Prepare, OnRequest: o.OnRequest, OnEvent: o.OnEvent},
		&wire.Options{Codec: o.Codec, Rooms: o.Rooms, OnBroadcast: o.OnBroadcast, OnBroadcastEnd: o.OnBroadcastEnd, OnLink: o.OnLink})
	if err != nil {
		return nil, err
	}
	return ns.Public().(*backplane.Namespace), nil
}

// nodeDoor returns the internal operations of a node that package adapter uses.
func nodeDoor(n *backplane.Node) wire.Node { return wire.NodeOf(n) }

// foreignOf returns the internal operations of a namespace that package adapter uses.
func foreignOf(ns *backplane.Namespace, ctx context.Context) (wire.Unannounced, error) {
	return backplane.Foreign(ctx, ns)
}

// add starts one more node and does not wait until the others know it.
func (f *fleet) add(o *backplane.Options, no *nsOptions) {
	f.t.Helper()
	f.addOn(f.bus.Broker(), nil, o, no)
}

// addOn starts a node on b, or on the result of wrap.
func (f *fleet) addOn(b *memorybroker.Broker, wrap func(broker.Broker) broker.Broker, o *backplane.Options, no *nsOptions) {
	f.t.Helper()
	log := new(errorLog)
	if o.OnError == nil {
		o.OnError = log.add
	}
	var as broker.Broker = b
	if wrap != nil {
		as = wrap(b)
	}
	node, err := backplane.New(as, o)
	require.NoError(f.t, err)
	ns, err := openNamespace(f.t.Context(), node, chat, no)
	require.NoError(f.t, err)
	f.brokers, f.nodes, f.ns, f.errs = append(f.brokers, b), append(f.nodes, node), append(f.ns, ns), append(f.errs, log)
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		memorytest.Thaw(b)
		memorytest.Heal(b)
		assert.NoError(f.t, node.Close(ctx))
		assert.NoError(f.t, b.Close(ctx), "broker Close")
	})
}

// meet waits until every node knows every other.
func (f *fleet) meet() {
	f.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, n := range f.nodes {
		for {
			known := 0
			for _, p := range n.KnownPeers() {
				if len(p.Namespaces) > 0 {
					known++
				}
			}
			if known == len(f.nodes)-1 {
				break
			}
			require.False(f.t, time.Now().After(deadline), "%s knows only %v", n.ID(), n.KnownPeers())
			time.Sleep(time.Millisecond) // polls a condition; nothing follows from the time
		}
	}
}

func (f *fleet) socket(node int, id string, rooms ...string) *socket {
	f.t.Helper()
	s := newSocket(id)
	f.join(node, s, rooms...)
	return s
}

func (f *fleet) join(node int, m backplane.Member, rooms ...string) {
	f.t.Helper()
	require.NoError(f.t, f.ns[node].Add(context.Background(), m))
	require.NoError(f.t, f.ns[node].Join(f.t.Context(), m.ID(), rooms...))
}

func (f *fleet) broadcast(node int, text string, to backplane.Target) {
	f.t.Helper()
	require.NoError(f.t, f.ns[node].Broadcast(f.t.Context(), []byte(text), to))
}

// ids lists the ids of some nodes, sorted.
func (f *fleet) ids(nodes ...int) []string {
	list := []string{}
	for _, i := range nodes {
		list = append(list, f.nodes[i].ID())
	}
	slices.Sort(list)
	return list
}

// rawPeer is a subscriber of the bus that is not a node: it reads and writes bytes.
type rawPeer struct {
	t  *testing.T
	b  *memorybroker.Broker
	id string

	mu    sync.Mutex
	seen  map[broker.Kind][][]byte
	hook  func(r *wire.Request)
	onAsk func(r *wire.Request) // requests to it alone; nil for none
	lives map[string]int64      // the nodes in whose names it has sent frames, with the start of their lives
	sub   broker.Subscription
}

// wire joins the bus. It subscribes like a node of that id, unless id is empty: then only to
// broadcasts and control frames.
func (f *fleet) wire(id string) *rawPeer {
	f.t.Helper()
	w := &rawPeer{t: f.t, b: f.bus.Broker(), id: id, seen: make(map[broker.Kind][][]byte), lives: make(map[string]int64)}
	filters := []broker.Filter{broker.Exactly(broker.Control()), broker.Native.EveryRoom(chat)}
	if id != "" {
		filters = append(filters, broker.Exactly(broker.NodeControl(id)), broker.Exactly(broker.Native.Requests(chat)), broker.Exactly(broker.Native.NodeResponses(chat, id)))
	}
	sub, err := w.b.Subscribe(f.t.Context(), w, filters...)
	require.NoError(f.t, err)
	w.sub = sub
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(f.t, w.b.Close(ctx), "broker Close")
	})
	return w
}

func (w *rawPeer) Deliver(ch broker.Channel, payload []byte) {
	w.mu.Lock()
	w.seen[ch.Kind()] = append(w.seen[ch.Kind()], payload)
	hook := w.hook
	since, listens := w.lives[ch.Name()]
	w.mu.Unlock()
	if token, _ := cutTokens(payload); token != nil && listens {
		w.prove(sender(payload), ch.Name(), since, token)
	}
	if ch.Kind() == broker.KindNodeResponses && w.onAsk != nil {
		var ask wire.Response
		r := new(wire.Request)
		assert.NoError(w.t, backplane.NativeCodec().DecodeResponse(payload, chat, &ask))
		assert.NoError(w.t, backplane.NativeCodec().DecodeRequest(ask.Payload, chat, r))
		w.onAsk(r)
	}
	if ch.Kind() == broker.KindRequests && hook != nil {
		r := new(wire.Request)
		if err := backplane.NativeCodec().DecodeRequest(payload, chat, r); err != nil {
			w.t.Errorf("a node sent an unreadable request: %v", err)
			return
		}
		hook(r)
	}
}

// onRequest sets f as the function for each request on the namespace's channel; nil for none.
func (w *rawPeer) onRequest(f func(r *wire.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = f
}

// as subscribes to the control channels of these nodes, too.
func (w *rawPeer) as(ids ...string) {
	w.t.Helper()
	var filters []broker.Filter
	for _, id := range ids {
		filters = append(filters, broker.Exactly(broker.NodeControl(id)))
	}
	require.NoError(w.t, w.sub.Add(w.t.Context(), filters...))
}

// says records that the peer sends frames as a node: it then returns tokens in the node's name, if
// it is subscribed as that node.
func (w *rawPeer) says(id string, since int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[id] = since
}

// prove returns a token.
func (w *rawPeer) prove(to, id string, since int64, token []byte) {
	frame := pack([]any{1, seen, id, since, 1, nil, 0, 0, 0, 0})
	frame[0]++ // the token
	// A node can still send a token after the test has closed the broker.
	if err := w.b.Publish(context.Background(), broker.NodeControl(to), append(frame, token...)); !errors.Is(err, broker.ErrClosed) {
		assert.NoError(w.t, err)
	}
}

// sender returns the id of the sender of a control frame.
func sender(frame []byte) string {
	r := msgpack.NewReader(frame[3:])
	id, _ := r.String()
	return strings.Clone(id)
}

// cutTokens returns the token that a control frame requests, nil if there is none, and the frame
// without tokens.
func cutTokens(frame []byte) (token, rest []byte) {
	const integer, size = 0xcf, 9
	if len(frame) < 3*size || frame[2] != full && frame[2] != ask && frame[2] != seen {
		return nil, frame
	}
	end := len(frame) - 1 // no token is returned
	if frame[end] != 0 || frame[end-size] != integer {
		end = len(frame) - size
	}
	if frame[end-size] != integer {
		return nil, frame
	}
	rest = bytes.Clone(frame[:end-size])
	rest[0] -= 2
	return frame[end-size : end], rest
}

func (w *rawPeer) Interrupted(error) {}
func (w *rawPeer) Resumed()          {}

// saw takes the messages of one kind of channel.
func (w *rawPeer) saw(k broker.Kind) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.seen[k]
	w.seen[k] = nil
	return list
}

func (w *rawPeer) send(ch broker.Channel, payload []byte) {
	w.t.Helper()
	assert.NoError(w.t, w.b.Publish(context.Background(), ch, payload))
}

// answer sends a response to a request, from a node of that id.
func (w *rawPeer) answer(r *wire.Request, node string, resp wire.Response) {
	resp.Request, resp.RequestID, resp.Node = r, r.ID, node
	buf, err := backplane.NativeCodec().AppendResponse(nil, chat, &resp)
	assert.NoError(w.t, err)
	w.send(broker.Native.NodeResponses(chat, r.Origin), buf)
}

// Kinds of control frames.
const (
	hello = iota + 1
	full
	beat
	ask
	bye
	change
	seen
	accuse
)

// control sends a control frame to all nodes.
func (w *rawPeer) control(kind int, id string, since int64, revision int, names ...string) {
	w.t.Helper()
	w.says(id, since)
	var list any
	if kind == hello || kind == full {
		list = spaces(names...)
	}
	w.send(broker.Control(), pack([]any{1, kind, id, since, revision, list}))
}

// change sends a change of a list of namespaces.
func (w *rawPeer) change(id string, since int64, base, revision int, added, removed []string) {
	w.t.Helper()
	w.send(broker.Control(), pack([]any{1, change, id, since, revision, spaces(added...), 0, base, spaces(removed...)}))
}

// spaces returns namespaces as control frames have them.
func spaces(names ...string) []any {
	l := []any{}
	for _, s := range names {
		l = append(l, []any{"native", s, "native/1"})
	}
	return l
}

// asks requests a node's list.
func (w *rawPeer) asks(node, id string) {
	w.t.Helper()
	w.says(id, 1)
	w.send(broker.NodeControl(node), pack([]any{1, ask, id, 1, 1, nil, 0, 0, 0}))
}

// pack encodes MessagePack without any codec.
func pack(v any) []byte { return appendValue(nil, v) }

func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return msgpack.AppendNil(dst)
	case int:
		return msgpack.AppendInt(dst, int64(v))
	case int64:
		return msgpack.AppendInt(dst, v)
	case string:
		return msgpack.AppendString(dst, v)
	case []byte:
		return msgpack.AppendBytes(dst, v)
	case []any:
		dst = msgpack.AppendArrayLen(dst, len(v))
		for _, e := range v {
			dst = appendValue(dst, e)
		}
		return dst
	case map[string]string: // one pair, so that the order is fixed
		dst = msgpack.AppendMapLen(dst, len(v))
		for k, s := range v {
			dst = msgpack.AppendString(msgpack.AppendString(dst, k), s)
		}
		return dst
	}
	panic(fmt.Sprintf("pack: %T", v))
}

// sorted is for lists without a meaningful order.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// Channels of the fleet's namespace.
var (
	broadcastChannel = broker.Native.Broadcast(chat)
	requestsChannel  = broker.Native.Requests(chat)
	responsesChannel = broker.Native.Responses(chat)
)

const (
	kindControl       = broker.KindControl
	kindBroadcast     = broker.KindBroadcast
	kindRoom          = broker.KindRoom
	kindRequests      = broker.KindRequests
	kindNodeResponses = broker.KindNodeResponses
)

type lossError = broker.LossError

// memoryQueue is the number of messages that a subscription of the memory broker holds.
const memoryQueue = 16384

// since returns when a known node was made.
func since(n *backplane.Node, id string) int64 {
	for _, p := range n.KnownPeers() {
		if p.ID == id {
			return p.Since.UnixNano()
		}
	}
	return 0
}

// serversOf returns the number of servers with the namespace, as Peers has it.
func serversOf(ctx context.Context, ns *backplane.Namespace) (int, error) {
	p, err := ns.Peers(ctx)
	if p == nil {
		return 0, err
	}
	return p.Total(), err
}
