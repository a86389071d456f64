package backplane_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

var native = backplane.NativeCodec()

// random makes values of all kinds that messages have.
type random struct{ *rand.Rand }

func (r random) string() string {
	return []string{"", "a", "lobby", "ü*?#[]\x00 ", strings.Repeat("x", r.IntN(300)), strings.Repeat("é", 200)}[r.IntN(6)]
}

func (r random) strings() []string {
	list := []string{}
	for range []int{0, 0, 1, 2, 20}[r.IntN(5)] {
		list = append(list, r.string())
	}
	return list
}

func (r random) bytes() []byte {
	p := make([]byte, []int{0, 1, 31, 32, 255, 256, 300}[r.IntN(7)])
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func (r random) optional() []byte {
	if r.IntN(2) == 0 {
		return nil
	}
	return r.bytes()
}

func (r random) header() wire.Header {
	if r.IntN(2) == 0 {
		return nil
	}
	h := wire.Header{}
	for range 1 + r.IntN(20) {
		h[r.string()] = r.string()
	}
	return h
}

func (r random) bool() bool    { return r.IntN(2) == 0 }
func (r random) count() int    { return []int{0, 1, 127, 128, 70_000, 1 << 31}[r.IntN(6)] }
func (r random) uint() uint64  { return r.Uint64() >> r.IntN(64) }
func (r random) flags() uint8  { return uint8(r.IntN(8)) }
func (r random) op() uint8     { return uint8(1 + r.IntN(int(wire.OpBroadcast))) }
func (r random) millis() int64 { return int64(r.IntN(3_600_000)) }

// A message is decoded as it was encoded, also into a struct that held another one before.
func TestNativeRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := random{rand.New(rand.NewPCG(seed, 1))}
	var b wire.Broadcast
	var q wire.Request
	var p wire.Response
	large := make([]byte, 70_000)
	for i := range 1000 {
		b1 := wire.Broadcast{
			Origin: r.string(), Seq: r.uint(), Rooms: r.strings(), Except: r.strings(), Flags: wire.Flags(r.flags()),
			Header: r.header(), Payload: r.bytes(), Relay: r.string(),
		}
		if i%100 == 0 {
			b1.Payload = large
		}
		buf, err := native.AppendBroadcast([]byte("before"), chat, &b1)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(buf, []byte("before")))
		require.NoError(t, native.DecodeBroadcast(buf[6:], chat, &b), "%+v", b1)
		same(t, b, b1)

		q1 := wire.Request{
			ID: r.string(), Op: wire.Op(r.op()), Origin: r.string(), Rooms: r.strings(), Except: r.strings(),
			ByID: r.bool(), Member: r.string(), Targets: r.strings(), Close: r.bool(), Detail: r.bool(), NoReply: r.bool(),
			Timeout: time.Duration(r.millis()) * time.Millisecond, Flags: wire.Flags(r.flags()),
			Header: r.header(), Payload: r.bytes(), Native: true,
		}
		if r.bool() {
			q1.Page, q1.After, q1.All = 1+r.count()/4, r.string(), r.strings()
		}
		buf, err = native.AppendRequest(buf[:0], chat, &q1)
		require.NoError(t, err)
		require.NoError(t, native.DecodeRequest(bytes.Clone(buf), chat, &q), "%+v", q1)
		same(t, q, q1)

		p1 := wire.Response{
			RequestID: r.string(), Node: r.string(), Members: []wire.MemberInfo{}, Rooms: r.strings(), NotFound: r.bool(),
			Count: r.count(), Ack: r.bool(), Payload: r.optional(), Err: r.string(), Busy: r.bool(), More: r.bool(), Rest: r.bool(), Ask: r.bool(), Header: r.header(),
		}
		for range r.IntN(4) {
			p1.Members = append(p1.Members, wire.MemberInfo{ID: r.string(), Rooms: r.strings(), Data: r.optional()})
		}
		buf, err = native.AppendResponse(buf[:0], chat, &p1)
		require.NoError(t, err)
		require.NoError(t, native.DecodeResponse(bytes.Clone(buf), chat, &p), "%+v", p1)
		same(t, p, p1)
	}
}

// same compares messages; empty lists are as good as nil.
func same[M wire.Broadcast | wire.Request | wire.Response](t *testing.T, got, want M) {
	t.Helper()
	tidy(&got)
	tidy(&want)
	require.Equal(t, want, got)
}

func tidy(message any) {
	none := func(lists ...*[]string) {
		for _, l := range lists {
			if len(*l) == 0 {
				*l = nil
			}
		}
	}
	switch m := message.(type) {
	case *wire.Broadcast:
		none(&m.Rooms, &m.Except)
	case *wire.Request:
		none(&m.Rooms, &m.All, &m.Except, &m.Targets)
	case *wire.Response:
		none(&m.Rooms)
		if m.Members = slices.Clone(m.Members); len(m.Members) == 0 {
			m.Members = nil
		}
		for i := range m.Members {
			none(&m.Members[i].Rooms)
		}
	}
}

// The layout, to the byte: a change requires a new version.
func TestNativeGolden(t *testing.T) {
	h := map[string]string{"k": "v"}
	check := func(what string, got []byte, err error, want []byte) {
		t.Helper()
		if assert.NoError(t, err, what) {
			assert.Equal(t, want, got, what)
		}
	}
	got, err := native.AppendBroadcast(nil, chat, &wire.Broadcast{
		Origin: "n1", Seq: 300, Flags: wire.Volatile | wire.Binary, Rooms: []string{"a", "b"}, Except: []string{"c"},
		Header: h, Relay: "r", Payload: []byte("hi"),
	})
	check("broadcast", got, err, pack([]any{1, "n1", 300, 5, []any{"a", "b"}, []any{"c"}, h, "r", []byte("hi")}))
	check("broadcast, as bytes", got, nil, []byte("\x99\x01\xa2n1\xcd\x01\x2c\x05\x92\xa1a\xa1b\x91\xa1c\x81\xa1k\xa1v\xa1r\xc4\x02hi"))
	got, err = native.AppendBroadcast(nil, chat, &wire.Broadcast{Origin: "n1", All: []string{"a", "b"}, Payload: []byte("hi")})
	check("broadcast to all of two rooms", got, err, pack([]any{1, "n1", 0, 0, nil, nil, nil, "", []byte("hi"), []any{"a", "b"}}))
	var in wire.Broadcast
	require.NoError(t, native.DecodeBroadcast(got, chat, &in))
	assert.Equal(t, []string{"a", "b"}, in.All)
	got, err = native.AppendBroadcast(nil, chat, &wire.Broadcast{})
	require.NoError(t, native.DecodeBroadcast(got, chat, &in))
	assert.Empty(t, in.All, "of the message before")
	check("empty broadcast", got, err, []byte("\x99\x01\xa0\x00\x00\xc0\xc0\xc0\xa0\xc4\x00"))

	got, err = native.AppendRequest(nil, chat, &wire.Request{
		ID: "n1.1", Op: wire.OpJoin, Origin: "n1", ByID: true, Detail: true, Rooms: []string{"a"}, Except: []string{"b"},
		Member: "m", Targets: []string{"x", "y"}, Timeout: 1500 * time.Millisecond, Flags: wire.NoCompress, Header: h, Payload: []byte("p"),
	})
	check("request", got, err, pack([]any{1, "n1.1", 4, "n1", 5, []any{"a"}, []any{"b"}, "m", []any{"x", "y"}, 1500, 2, h, []byte("p")}))
	got, err = native.AppendRequest(nil, chat, &wire.Request{Op: wire.OpMembers, CountOnly: true, All: []string{"a"}})
	check("count", got, err, pack([]any{1, "", 1, "", 16, nil, nil, "", nil, 0, 0, nil, []byte{}, []any{"a"}}))
	got, err = native.AppendRequest(nil, chat, &wire.Request{Op: wire.OpRooms, Page: 5, After: "a"})
	check("a page", got, err, pack([]any{1, "", 3, "", 0, nil, nil, "", nil, 0, 0, nil, []byte{}, nil, 5, "a"}))
	got, err = native.AppendRequest(nil, chat, &wire.Request{Op: wire.OpEvent, Close: true, NoReply: true})
	check("event", got, err, pack([]any{1, "", 8, "", 10, nil, nil, "", nil, 0, 0, nil, []byte{}}))

	got, err = native.AppendResponse(nil, chat, &wire.Response{
		RequestID: "n1.1", Node: "n2", NotFound: true, Busy: true, Count: 3, Rooms: []string{"a"},
		Members: []wire.MemberInfo{{ID: "m", Rooms: []string{"m", "a"}, Data: []byte("d")}, {ID: "o"}}, Payload: []byte{}, Err: "e", Header: h,
	})
	check("response", got, err, pack([]any{1, "n1.1", "n2", 5, 3, []any{"a"}, []any{
		[]any{"m", []any{"m", "a"}, []byte("d")}, []any{"o", nil, nil},
	}, []byte{}, "e", h}))
	got, err = native.AppendResponse(nil, chat, &wire.Response{RequestID: "n1.1", Ack: true})
	check("acknowledgement", got, err, pack([]any{1, "n1.1", "", 2, 0, nil, nil, nil, "", nil}))
	got, err = native.AppendResponse(nil, chat, &wire.Response{RequestID: "n1.1", Node: "n2", More: true, Rooms: []string{"a"}})
	check("a part", got, err, pack([]any{1, "n1.1", "n2", 8, 0, []any{"a"}, nil, nil, "", nil}))
	got, err = native.AppendResponse(nil, chat, &wire.Response{RequestID: "n1.1", Node: "n2", Rest: true})
	check("a page with more after it", got, err, pack([]any{1, "n1.1", "n2", 16, 0, nil, nil, nil, "", nil}))
	got, err = native.AppendResponse(nil, chat, &wire.Response{RequestID: "n1.1", Node: "n1", Ask: true, Payload: []byte("q")})
	check("a request to one node", got, err, pack([]any{1, "n1.1", "n1", 32, 0, nil, nil, []byte("q"), "", nil}))
}

// Later versions may add to the end of everything.
func TestNativeLaterVersion(t *testing.T) {
	more := []any{"more", []any{1, []any{2}}}
	var b wire.Broadcast
	err := native.DecodeBroadcast(pack(append([]any{2, "n", 1, 0xf1, nil, nil, nil, "", []byte("p")}, more...)), chat, &b)
	require.NoError(t, err, "broadcast: %+v", b)
	assert.Equal(t, "p", string(b.Payload), "broadcast: %+v", b)
	var q wire.Request
	err = native.DecodeRequest(pack(append([]any{2, "n.1", 1, "n", 0, nil, nil, "", nil, 0, 0, nil, []byte("p")}, more...)), chat, &q)
	require.NoError(t, err, "request: %+v", q)
	assert.Equal(t, wire.OpMembers, q.Op, "request: %+v", q)
	for _, op := range []int{0, 10, 255, 256 + 1} {
		err := native.DecodeRequest(pack([]any{1, "n.1", op, "n", 0, nil, nil, "", nil, 0, 0, nil, []byte("p")}), chat, &q)
		assert.ErrorIs(t, err, wire.ErrIgnored, "operation %d", op)
	}
	var p wire.Response
	member := append([]any{"m", nil, nil}, more...)
	err = native.DecodeResponse(pack(append([]any{2, "n.1", "m", 0, 0, nil, []any{member}, nil, "", nil}, more...)), chat, &p)
	require.NoError(t, err, "response: %+v", p)
	assert.Len(t, p.Members, 1, "response: %+v", p)
	// A timeout that exceeds time.Duration is a long one.
	err = native.DecodeRequest(pack([]any{1, "n.1", 9, "n", 0, nil, nil, "", nil, int64(1) << 62, 0, nil, []byte{}}), chat, &q)
	require.NoError(t, err)
	assert.Equal(t, time.Hour, q.Timeout)
}

func TestNativeChannels(t *testing.T) {
	for _, c := range []struct {
		rooms []string
		want  broker.Channel
	}{
		{nil, broadcastChannel},
		{[]string{"a"}, broker.Native.Room(chat, "a")},
		{[]string{""}, broker.Native.Room(chat, "")},
		{[]string{"a", "b"}, broadcastChannel},
	} {
		if got := native.BroadcastChannel(chat, &wire.Broadcast{Rooms: c.rooms}); got != c.want {
			t.Errorf("%q: %v", c.rooms, got)
		}
	}
	if native.Protocol() != broker.Native || native.Hello() != "native/1" {
		t.Error(native.Protocol(), native.Hello())
	}
}

// Seeds of the fuzz targets: well-formed frames, and nearly well-formed ones.
func seeds(f *testing.F, frames ...[]byte) {
	for _, p := range frames {
		f.Add(p)
		f.Add(p[:len(p)-1])
		f.Add(append(bytes.Clone(p), 0xc1))
	}
	for _, p := range malformed {
		if len(p) < 1000 {
			f.Add(p)
		}
	}
}

func FuzzNativeBroadcast(f *testing.F) {
	seeds(f, pack([]any{1, "n1", 300, 5, []any{"a", "b"}, []any{"c"}, map[string]string{"k": "v"}, "r", []byte("hi")}))
	f.Fuzz(func(t *testing.T, p []byte) {
		var b, again wire.Broadcast
		if native.DecodeBroadcast(p, chat, &b) != nil {
			return
		}
		buf, err := native.AppendBroadcast(nil, chat, &b)
		require.NoError(t, err)
		require.NoError(t, native.DecodeBroadcast(buf, chat, &again))
		b.HeaderDropped = 0 // is not sent on
		same(t, again, b)
		require.NotZero(t, native.BroadcastChannel(chat, &b).Kind(), "no channel")
	})
}

func FuzzNativeRequest(f *testing.F) {
	seeds(f, pack([]any{1, "n1.1", 4, "n1", 5, []any{"a"}, []any{"b"}, "m", []any{"x", "y"}, 1500, 2, map[string]string{"k": "v"}, []byte("p")}))
	f.Fuzz(func(t *testing.T, p []byte) {
		var q, again wire.Request
		if native.DecodeRequest(p, chat, &q) != nil {
			return
		}
		buf, err := native.AppendRequest(nil, chat, &q)
		require.NoError(t, err)
		require.NoError(t, native.DecodeRequest(buf, chat, &again))
		q.HeaderDropped = 0 // is not sent on
		same(t, again, q)
	})
}

func FuzzNativeResponse(f *testing.F) {
	seeds(f, pack([]any{1, "n1.1", "n2", 1, 3, []any{"a"}, []any{[]any{"m", []any{"m", "a"}, []byte("d")}, []any{"o", nil, nil}}, []byte{}, "e", map[string]string{"k": "v"}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		var r, again wire.Response
		if native.DecodeResponse(p, chat, &r) != nil {
			return
		}
		buf, err := native.AppendResponse(nil, chat, &r)
		require.NoError(t, err)
		require.NoError(t, native.DecodeResponse(buf, chat, &again))
		same(t, again, r)
	})
}

func FuzzControl(f *testing.F) {
	seeds(f, pack([]any{1, full, "n1", int64(946684800000000000), 3, []any{[]any{"native", chat, "native/1"}, []any{"socketio", "/", "socket.io/v6"}}}))
	seeds(f, pack([]any{1, full, "n1", 946684800, 3, spaces(chat), 7, 1, 2, []any{"n2", "n3"}}))
	seeds(f, pack([]any{1, change, "n1", 946684800, 3, spaces(chat), 7, 1, spaces("/", "")}))
	seeds(f, pack([]any{1, seen, "n1", 946684800, 3, nil, 0, 946684800, 9}))
	seeds(f, pack([]any{1, hello, "n1", 946684800, 3, nil}))
	f.Fuzz(func(t *testing.T, p []byte) {
		once, err := backplane.RewriteControl(p)
		if err != nil {
			return
		}
		twice, err := backplane.RewriteControl(once)
		require.NoError(t, err)
		require.Equal(t, twice, once)
	})
}
