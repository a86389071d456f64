package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// harmFleet is two Go nodes among Node.js servers. No operation may harm a server.
type harmFleet struct {
	t     *testing.T
	sub   *testing.T // of the current operation
	ctx   context.Context
	mixed bool // servers of all versions
	nsp   string
	redis string
	peers []*interop.Peer
	// asking is the node that sends requests. answering has the sockets that the requests are
	// about.
	asking, answering *goNode
	ns, there         *adapter.Namespace
	emitter           *adapter.Emitter
	clients           []*harmClient
	count             int // number of events so far, which makes each event different
	names             *harmNames
	strangers         *interop.Watcher
	listening         map[string]bool // the servers that listen to server-side events of these names

	header   atomic.Pointer[wire.Header] // the header that broadcasts and requests get
	mu       sync.Mutex
	reported []error // the errors that OnError got
}

type harmClient struct {
	peer  *interop.Peer
	name  string
	inbox *interop.Inbox
	old   bool // a client of version 2, in no room
}

var harmFleets atomic.Int64

// startHarmFleet starts servers of the versions, with a client of each generation that the server
// accepts, and then two Go nodes.
func startHarmFleet(t *testing.T, redis string, versions []interop.Generation, prefix string, changes ...func(*adapter.Options)) *harmFleet {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // cleanups use it too
	f := &harmFleet{t: t, ctx: ctx, redis: redis, mixed: len(versions) > 1, nsp: "/harm"}
	if prefix == "" {
		prefix = fmt.Sprint("harm-", harmFleets.Add(1))
	}
	d := adapter.V6
	if !f.mixed {
		d = dialects[versions[0]]
	}
	f.peers = make([]*interop.Peer, len(versions))
	var starting sync.WaitGroup
	for i, g := range versions {
		starting.Go(func() { f.peers[i] = startPeer(t, g, string(g), redis, prefix) })
	}
	starting.Wait()
	for _, p := range f.peers {
		f.join(p, f.nsp)
	}
	changes = append([]func(*adapter.Options){func(o *adapter.Options) {
		o.OnError = f.report
		o.Observers = []observe.Observer{headers{harmFleet: f}}
		o.Heartbeat, o.PeerTimeout = 0, 0 // the defaults, because there are many nodes
		o.Redact = func(*adapter.Handshake) {}
	}}, changes...)
	f.asking, f.answering = startGo(t, "asking", redis, prefix, d, changes...), startGo(t, "answering", redis, prefix, d, changes...)
	var err error
	if f.there, err = f.answering.server.Of(ctx, f.nsp); err == nil {
		f.ns, err = f.asking.server.Of(ctx, f.nsp)
	}
	if err == nil {
		f.emitter, err = adapter.NewEmitter(openBroker(t, redis, prefix, d), &adapter.EmitterOptions{Namespace: f.nsp, Dialect: d})
	}
	require.NoError(t, err)
	t.Cleanup(cancel)
	// Binary data is sent in v5's own form once all servers are known to be v5.
	began := time.Now()
	for known := f.mixed || versions[0] != v5; !known; {
		require.LessOrEqual(t, time.Since(began), deadline, "servers of v5 are not known to be that")
		require.NoError(t, f.ns.Emit(ctx, "probe", []byte("bytes")))
		got, err := f.settle()
		require.NoError(t, err)
		last := got[f.clients[0]]
		known = len(last) == 1 && last[0].Text() == (interop.Message{Event: "probe", Args: []any{[]byte("bytes")}}).Text()
	}
	return f
}

// join opens a namespace on a peer, and connects clients to it.
func (f *harmFleet) join(p *interop.Peer, nsp string) {
	f.must(p, "namespace", args{"nsp": nsp})
	name := nsp + " " + p.Name()
	f.must(p, "connect", args{"nsp": nsp, "name": name, "rooms": []any{"red"}, "answers": args{"ask": "answer"}})
	f.clients = append(f.clients, &harmClient{peer: p, name: name, inbox: p.Inbox(name)})
	name += " 2"
	f.must(p, "connect2", args{"nsp": nsp, "name": name, "answers": args{"ask": "answer"}})
	f.clients = append(f.clients, &harmClient{peer: p, name: name, inbox: p.Inbox(name), old: true})
}

func (f *harmFleet) must(p *interop.Peer, op string, a args) any {
	v, err := f.call(p, op, a)
	require.NoError(f.t, err, "%s: %s", p.Name(), op)
	return v
}

// call makes a peer perform an operation. It fails when the peer exits.
func (f *harmFleet) call(p *interop.Peer, op string, a args) (any, error) {
	ctx, cancel := context.WithTimeout(f.ctx, deadline)
	defer cancel()
	return p.Call(ctx, op, with(args{"nsp": f.nsp}, a))
}

func (f *harmFleet) report(err error) {
	var mixed *adapter.GenerationsError
	if errors.As(err, &mixed) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reported = append(f.reported, err)
}

// reports returns the errors that were reported since the last call. It waits a while for the
// expected number, because OnError is called later.
func (f *harmFleet) reports(want int) []error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		list := f.reported
		if len(list) >= want || time.Now().After(end) {
			f.reported = nil
			f.mu.Unlock()
			return list
		}
		f.mu.Unlock()
	}
}

// headers is the observer of a fleet's Go nodes.
type headers struct {
	observe.Nop
	*harmFleet
}

func (h headers) set(dst *map[string]string) {
	if header := h.header.Load(); header != nil {
		*dst = *header
	}
}

func (h headers) PublishStart(ctx context.Context, d *observe.Publish) context.Context {
	h.set(&d.Header)
	return ctx
}
func (h headers) RequestStart(ctx context.Context, d *observe.Request) context.Context {
	h.set(&d.Header)
	return ctx
}

// refusal reports whether an error says why an operation was refused.
func refusal(err error) bool {
	var harm *adapter.HarmError
	var name *backplane.NameError
	var argument *adapter.ArgumentError
	var mixed *adapter.MixedFleetError
	return errors.As(err, &harm) || errors.As(err, &name) || errors.As(err, &argument) ||
		errors.As(err, &mixed) || errors.Is(err, errors.ErrUnsupported)
}

// healthy checks that no process was harmed.
func (f *harmFleet) healthy() error {
	for _, p := range f.peers {
		if faults := p.Faults(); len(faults) > 0 {
			return fmt.Errorf("%s: %.2000s", p.Generation(), strings.Join(faults, "\n"))
		}
	}
	return nil
}

// settle returns what each client has received so far. The requester emits a marker for this.
func (f *harmFleet) settle() (map[*harmClient][]interop.Message, error) {
	return f.settleBy(func(n float64) error { return f.ns.Emit(f.ctx, marker, n) })
}

func (f *harmFleet) settleBy(mark func(n float64) error) (map[*harmClient][]interop.Message, error) {
	f.count++
	n := float64(f.count)
	if err := mark(n); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(f.ctx, 4*deadline) // some values are large
	defer cancel()
	got := map[*harmClient][]interop.Message{}
	for _, c := range f.clients {
		for got[c] == nil {
			soon, stop := context.WithTimeout(ctx, time.Second)
			before, err := c.inbox.Until(soon, func(m interop.Message) bool {
				return m.Event == marker && interop.Text(m.Args) == interop.Text([]any{n})
			})
			stop()
			switch faults := f.healthy(); {
			case err == nil:
				got[c] = append([]interop.Message{}, before...)
			case faults != nil:
				return nil, faults
			case ctx.Err() != nil || len(before) > 0 && before[len(before)-1].Disconnected != "":
				return nil, fmt.Errorf("a client of %s (of version 2: %v) got no marker, but %.500v", c.peer.Name(), c.old, before)
			}
		}
	}
	return got, nil
}

// expect calls settle and checks that the matching clients got exactly these events.
func (f *harmFleet) expect(match func(*harmClient) bool, sent []content) error {
	got, err := f.settle()
	if err != nil {
		return err
	}
	for c, list := range got {
		var want []content
		if match(c) {
			want = sent
		}
		if len(list) != len(want) {
			return fmt.Errorf("a client of %s (of version 2: %v) got %d events, want %d: %.1000v", c.peer.Name(), c.old, len(list), len(want), list)
		}
		// Servers of v5 read attachments only of packets that are marked as binary.
		asJSON := c.peer.Generation() == v5 && f.mixed
		for i, m := range list {
			expected := interop.Message{Event: want[i].event, Args: atClients(want[i].args, asJSON)}
			if m.Text() != expected.Text() {
				return fmt.Errorf("a client of %s (of version 2: %v) got %v, want %v", c.peer.Name(), c.old, m, expected)
			}
		}
	}
	return nil
}

// decoded returns values as they are encoded on the wire.
func decoded(values []any) []any {
	out := make([]any, len(values))
	for i, v := range values {
		payload, _, err := msgpack.AppendValue(nil, v)
		if err == nil {
			out[i], err = msgpack.Decode(payload)
		}
		if err != nil {
			out[i] = err.Error()
		}
	}
	return out
}

// atClients returns values as they arrive in JSON and, unless asJSON is set, as attachments.
func atClients(values []any, asJSON bool) []any {
	return mapped(decoded(values), func(v any) any {
		switch v := v.(type) {
		case time.Time:
			return isoDate(v)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil
			}
		case []byte:
			if asJSON {
				return jsonBuffer(v)
			}
		}
		return v
	}).([]any)
}

// isoDate returns a date in JavaScript's form.
func isoDate(t time.Time) string {
	text := t.UTC().Format("2006-01-02T15:04:05.000Z")
	if t.UTC().Year() > 9999 {
		return fmt.Sprintf("+%06d%s", t.UTC().Year(), text[strings.IndexByte(text, '-'):])
	}
	return text
}

// infinite is Infinity in the notation of interop.Text. JavaScript reads it for a number that
// exceeds float64.
const infinite = `{"$float":"Infinity"}`

// plainJSON returns a value as encoding/json writes it and JavaScript reads it, with this text in
// place of 1e999. The error says that the value cannot be sent.
func plainJSON(v any, infinity string) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return interop.Parse([]byte(strings.ReplaceAll(string(text), "1e999", infinity)))
}
