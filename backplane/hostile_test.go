package backplane_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// malformed are bytes that are malformed on every channel.
var malformed = map[string][]byte{
	"empty":                 {},
	"reserved byte":         []byte("\xc1"),
	"text":                  []byte("hello"),
	"JSON":                  []byte(`{"uid":"x","type":1}`),
	"an integer":            pack(1),
	"empty array":           pack([]any{}),
	"other version":         pack([]any{0, "a", 1, "b", 1, nil, nil, nil, nil, nil, nil, nil, nil}),
	"version of text":       pack([]any{"1", "a", 1, "b", 1, nil, nil, nil, nil, nil, nil, nil, nil}),
	"too short":             pack([]any{1, "a"}),
	"long array, cut off":   []byte("\xdd\xff\xff\xff\xff\x01"),
	"long map":              []byte("\xdf\xff\xff\xff\xff\x01"),
	"long string":           []byte("\x9d\x01\xdb\xff\xff\xff\xffabc"),
	"long binary":           []byte("\x9d\x01\xc6\xff\xff\xff\xffabc"),
	"all nil":               bytes.Repeat([]byte("\xc0"), 100),
	"nested":                append(bytes.Repeat([]byte("\x91"), 100_000), 0xc0),
	"nested in a field":     append(append([]byte("\x9d\x01"), bytes.Repeat([]byte("\x91"), 100_000)...), 0xc0),
	"nested maps":           append(bytes.Repeat([]byte("\x81\xa1a"), 100_000), 0xc0),
	"invalid UTF-8":         []byte("\x9d\x01\xa2\xff\xfe\x01\x01\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0"),
	"negative":              pack([]any{1, "a", -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}),
	"array of many, broken": append([]byte("\xdd\x00\x01\x00\x00\x01"), bytes.Repeat([]byte("\xa0"), 1<<16)...),
}

// sound are frames of each kind. Each prefix of one is malformed.
var sound = map[broker.Channel][]byte{
	broadcastChannel:                pack([]any{1, "x", 1, 0, []any{"red", "blue"}, []any{"c"}, map[string]string{"k": "v"}, "r", []byte("hi")}),
	broker.Native.Room(chat, "red"): pack([]any{1, "x", 1, 0, []any{"red"}, nil, nil, "", []byte("hi")}),
	requestsChannel:                 pack([]any{1, "x.1", 4, "x", 1, []any{"a"}, []any{"b"}, "a", []any{"new"}, 1500, 2, map[string]string{"k": "v"}, []byte("p")}),
	responsesChannel:                pack([]any{1, "y.1", "x", 1, 3, []any{"a"}, []any{[]any{"m", []any{"m"}, []byte("d")}}, []byte{}, "e", map[string]string{"k": "v"}}),
	broker.Control():                pack([]any{1, full, "x", 1, 1, []any{[]any{"native", chat, "native/1"}}}),
}

// Malformed bytes on every channel are counted and reported once each with their channel. They have
// no other effect.
func TestHostileBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		drops := new(dropLog)
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{Name: "n0", Observers: []observe.Observer{drops}}, nil)
		f.add(&backplane.Options{Name: "n1"}, nil)
		f.meet()
		a, b := f.socket(0, "a", "red"), f.socket(1, "b", "blue")
		w := f.wire("")
		settle()
		peers := peerIDs(f.nodes[0])
		channels := []broker.Channel{
			broadcastChannel, broker.Native.Room(chat, "red"), broker.Native.Room(chat, "a"), requestsChannel, responsesChannel,
			broker.Native.NodeResponses(chat, f.nodes[0].ID()), broker.Control(),
		}
		for _, ch := range channels {
			frames := map[string][]byte{}
			for name, p := range malformed {
				frames[name] = p
			}
			p := sound[ch]
			if ch.Name() == "a" {
				p = sound[broker.Native.Room(chat, "red")]
			}
			if ch.Kind() == kindNodeResponses {
				p = sound[responsesChannel]
			}
			for i := range p {
				frames["cut off after "+string(rune('0'+i))] = p[:i]
			}
			for name, p := range frames {
				time.Sleep(2 * time.Second) // so that it is reported by itself
				settle()
				drops.take()
				before := f.nodes[0].Stats()
				w.send(ch, p)
				settle()
				de := reported[*backplane.MessageError](t, f.errs[0])
				after := f.nodes[0].Stats()
				if de.Channel != ch || de.Err == nil || len(de.Error()) > 1000 {
					t.Errorf("%s on %v: reported %v", name, ch, de)
				}
				assert.Equal(t, before.Undecodable+1, after.Undecodable, "%s on %v: counted", name, ch)
				after.Undecodable, after.Received, after.ReceivedBytes = before.Undecodable, before.Received, before.ReceivedBytes
				assert.Equal(t, before, after, "%s on %v: stats were", name, ch)
				if ch != broker.Control() {
					got := drops.take()
					if assert.Len(t, got, 1, "%s on %v: observed", name, ch) {
						assert.Equal(t, observe.DropUndecodable, got[0], "%s on %v: observed", name, ch)
					}
				}
			}
		}
		f.errs[1].take() // it received most of these too
		untouched(t, f, f.wire("late"), a, b)
		assert.ElementsMatch(t, []string{"a", "red"}, f.ns[0].LocalRooms(), "rooms")
		assert.Equal(t, peers, peerIDs(f.nodes[0]), "peers")
		f.broadcast(1, "marker", backplane.All())
		settle()
		assert.Equal(t, []string{"marker"}, a.all(), "a")
	})
}

type dropLog struct {
	observe.Nop
	noted[observe.DropReason]
}

func (d *dropLog) Dropped(_ string, _ broker.Channel, r observe.DropReason) { d.add(r) }

// The cost of reading bytes is proportional to their number.
func TestHostileMemory(t *testing.T) {
	const size = 1 << 18
	head := func(fields int, first ...any) []byte {
		p := []byte{0x90 | byte(fields)}
		for _, v := range first {
			p = appendValue(p, v)
		}
		return p
	}
	long := func(head []byte, element string) []byte {
		n := (size - len(head)) / len(element)
		p := append(bytes.Clone(head), 0xdd, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		return append(p, strings.Repeat(element, n)...)
	}
	header := func(head []byte) []byte {
		n := (size - len(head)) / 6
		p := append(bytes.Clone(head), 0xdf, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		for i := range n {
			p = append(p, 0xa4, byte('a'+i%26), byte('a'+i/26%26), byte('a'+i/676%26), byte('a'+i/17576%26), 0xa0)
		}
		return p
	}
	var b wire.Broadcast
	var q wire.Request
	var r wire.Response
	for name, f := range map[string]func() error{
		"rooms":  func() error { return native.DecodeBroadcast(long(head(9, 1, "x", 1, 0), "\xa0"), chat, &b) },
		"header": func() error { return native.DecodeBroadcast(header(head(9, 1, "x", 1, 0, nil, nil)), chat, &b) },
		"targets": func() error {
			return native.DecodeRequest(long(head(13, 1, "x", 4, "x", 0, nil, nil, ""), "\xa0"), chat, &q)
		},
		"members": func() error {
			return native.DecodeResponse(long(head(10, 1, "x", "x", 0, 0, nil), "\x93\xa0\xc0\xc0"), chat, &r)
		},
		"member rooms": func() error {
			return native.DecodeResponse(long(append(head(10, 1, "x", "x", 0, 0, nil), 0x91, 0x93, 0xa0), "\xa0"), chat, &r)
		},
		"not members": func() error { return native.DecodeResponse(long(head(10, 1, "x", "x", 0, 0, nil), "\xa0"), chat, &r) },
		"namespaces": func() error {
			return backplane.DecodeControl(long(head(6, 1, full, "x", 1, 1), "\x93\xa6native\xa0\xa0"))
		},
	} {
		b, q, r = wire.Broadcast{}, wire.Request{}, wire.Response{}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := f()
		runtime.ReadMemStats(&after)
		assert.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(64*size), "%s: %d bytes cost (%v)", name, size, err)
	}
	require.NoError(t, native.DecodeBroadcast(append(header(head(9, 1, "x", 1, 0, nil, nil)), 0xa0, 0xc4, 0), chat, &b))
	assert.NotEmpty(t, b.Header, "a header")
	assert.LessOrEqual(t, len(b.Header), 8<<10/4, "a header")
}

// One large message does not enlarge the node's memory permanently.
func TestHostileListIsLetGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		a := f.socket(0, "a")
		w := f.wire("")
		rooms := make([]any, 100_000)
		for i := range rooms {
			rooms[i] = "a"
		}
		w.send(broadcastChannel, pack([]any{1, "x", 1, 0, rooms, rooms[:50_000:50_000], nil, "", []byte("1")}))
		w.send(broadcastChannel, pack([]any{1, "x", 1, 0, rooms, nil, nil, "", []byte("2")}))
		w.send(broadcastChannel, pack([]any{1, "x", 1, 0, nil, nil, nil, "", []byte("3")}))
		settle()
		assert.Equal(t, []string{"2", "3"}, a.all(), "a")
		assert.LessOrEqual(t, f.ns[0].RoomsKept(), 2000, "memory for names is kept")
	})
}

// Errors that exceed the speed of OnError are counted.
func TestSlowErrorHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var log errorLog
		f := newFleet(t, 0, backplane.Options{}, nil)
		f.add(&backplane.Options{OnError: func(err error) {
			<-release
			log.add(err)
			if len(log.list) == 3 {
				panic("handler")
			}
		}}, &nsOptions{OnBroadcast: func(*wire.Broadcast) bool { return true }}) // reads all rooms
		w := f.wire("")
		const n = 1000
		for range n { // a flood on one channel, and then on many
			w.send(broadcastChannel, []byte("x"))
		}
		for i := range n {
			w.send(broker.Native.Room("/chat", strconv.Itoa(i)), []byte("x"))
		}
		settle()
		close(release)
		time.Sleep(2 * time.Second) // those after the first ones come as one
		settle()
		st := f.nodes[0].Stats()
		first, others := 0, 0
		for _, err := range log.take() {
			d, ok := errors.AsType[*backplane.MessageError](err)
			switch {
			case !ok:
				t.Error(err)
			case d.Channel == broadcastChannel:
				first += 1 + d.More
			default:
				others += 1 + d.More
			}
		}
		assert.Equal(t, n, first, "%+v", st)
		assert.Zero(t, st.Unreported, "%+v", st)
		assert.Equal(t, n, others+int(st.Unreported), "%+v", st)
		assert.EqualValues(t, 2*n, st.Undecodable, "%+v", st)
		assert.EqualValues(t, 1, st.Panics, "%+v", st)
		w.send(broadcastChannel, []byte("x"))
		settle()
		assert.Equal(t, 1, len(log.take()), "then were reported")
		// Messages were not delayed.
		a := f.socket(0, "a")
		w.send(broadcastChannel, pack([]any{1, "x", 1, 0, nil, nil, nil, "", []byte("1")}))
		settle()
		assert.Equal(t, []string{"1"}, a.all(), "a")
	})
}

// Requests that no node would send.
func TestHostileRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, answering)
		a := f.socket(0, "a", "red")
		w := f.wire("x")
		request := func(id string, op int, origin string, bits int, rooms any, member string, targets any) {
			w.send(requestsChannel, pack([]any{1, id, op, origin, bits, rooms, nil, member, targets, 0, 0, nil, []byte{}}))
		}
		long := strings.Repeat("x", 5000)
		for op := 1; op <= 9; op++ {
			request("", op, "", 0, []any{"nowhere"}, "unknown", []any{})                   // no id to respond to
			request("x.1", op, "", 0, []any{"nowhere"}, "", nil)                           // no requester
			request("x.2", op, long, 1, []any{"nowhere"}, long, nil)                       // an unusable requester
			request("x.3", op, "x", 1, []any{"nowhere"}, "unknown", []any{long, "", long}) // no such member
		}
		settle()
		for _, err := range f.errs[0].take() {
			ae, ok := err.(*backplane.OpError)
			if assert.True(t, ok, "reported %.300v", err) {
				assert.Equal(t, long, ae.Name, "reported %.300v", err)
			}
		}
		assert.ElementsMatch(t, []string{"a", "red"}, f.ns[0].LocalRooms(), "rooms")
		assert.Zero(t, len(a.got)+len(a.gone), "the member was called")
		answers := 0
		for _, p := range w.saw(kindNodeResponses) {
			var r wire.Response
			err := native.DecodeResponse(p, chat, &r)
			if assert.NoError(t, err, "%+v", r) {
				assert.Equal(t, "x.3", r.RequestID, "%+v", r)
			}
			answers++
		}
		assert.Equal(t, 9, answers)
	})
}

// losing is a broker whose losses a test invents.
type losing struct {
	broker.Broker
	lose func(broker.Loss)
}

func (l *losing) OnLoss(f func(broker.Loss)) (stop func()) {
	l.lose = f
	return func() {}
}

// Losses of one cause are merged while the handler is busy, with their numbers.
func TestManyLosses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, release := &losing{Broker: memorybroker.New(nil)}, make(chan struct{})
		var log errorLog
		n, err := backplane.New(b, &backplane.Options{OnError: func(err error) { <-release; log.add(err) }})
		require.NoError(t, err)
		_, err = n.Namespace(t.Context(), "/chat", nil)
		require.NoError(t, err)
		refused, old := errors.New("refused"), errors.New("old")
		const count = 1000
		for range count {
			b.lose(broker.Loss{Messages: 1, Bytes: 10, Err: refused})
			b.lose(broker.Loss{Messages: 2, Bytes: 20, Err: refused, Uncertain: true})
			b.lose(broker.Loss{Messages: 3, Bytes: 30, Err: old})
		}
		close(release)
		require.NoError(t, n.Close(t.Context()))
		require.NoError(t, b.Close(t.Context()))
		sums := map[string]broker.Loss{}
		list := log.take()
		for _, err := range list {
			l, ok := errors.AsType[*broker.LossError](err)
			require.True(t, ok, err)
			key := fmt.Sprint(l.Err, l.Uncertain)
			sum := sums[key]
			sums[key] = broker.Loss{Messages: sum.Messages + l.Messages, Bytes: sum.Bytes + l.Bytes}
		}
		want := map[string]broker.Loss{
			"refused false": {Messages: count, Bytes: 10 * count},
			"refused true":  {Messages: 2 * count, Bytes: 20 * count},
			"old false":     {Messages: 3 * count, Bytes: 30 * count},
		}
		assert.Equal(t, want, sums, "%d reports", len(list))
		assert.LessOrEqual(t, len(list), 400, "%d reports", len(list))
	})
}
