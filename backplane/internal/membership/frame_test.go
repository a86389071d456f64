package membership

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// frames has one frame of each kind.
func frames() []frame {
	list := []served{{Namespace{broker.Native, "/"}, "native/1"}, {Namespace{broker.SocketIO, "/chat"}, "socket.io/v6"}}
	var out []frame
	for kind := kindHello; kind <= kindAccuse; kind++ {
		f := frame{version: frameVersion, kind: kind, id: "node", since: 1_700_000_000_000_000_000, revision: 300, number: 70_000}
		switch kind {
		case kindHello:
			f.namespaces, f.listed = list, true
		case kindFull:
			f.namespaces, f.listed, f.part, f.parts = list, true, 1, 3
			f.neighbours, f.settled, f.token, f.echo = []string{"a", "b"}, true, 1<<63, 5
		case kindChange:
			f.namespaces, f.listed, f.base, f.removed = list[:1], true, 299, list[1:]
		case kindSeen, kindAsk:
			f.yourSince, f.yourRevision, f.token, f.echo = 17, 18, 19, 20
		case kindAccuse:
			f.accused = []accusation{{id: "a", since: 5, silent: time.Second}, {id: "b", since: 6, silent: time.Minute}}
		}
		out = append(out, f)
	}
	return out
}

// elements splits a frame.
func elements(t *testing.T, b []byte) (out [][]byte) {
	r := msgpack.NewReader(b)
	n, err := r.ArrayLen()
	require.NoError(t, err)
	for range n {
		raw, err := r.Raw()
		require.NoError(t, err)
		out = append(out, raw)
	}
	require.Zero(t, r.Len())
	return out
}

func join(list [][]byte) []byte {
	b := msgpack.AppendArrayLen(nil, len(list))
	for _, raw := range list {
		b = append(b, raw...)
	}
	return b
}

func TestFramesAreReadAsWritten(t *testing.T) {
	for _, f := range frames() {
		b := f.append(nil)
		var got frame
		require.NoError(t, got.decode(b), "kind %d", f.kind)
		require.Equal(t, f, got)
		require.Equal(t, "node", Sender(b))

		// A later version may say more.
		got = frame{}
		require.NoError(t, got.decode(join(append(elements(t, b), msgpack.AppendString(nil, "more")))), "kind %d", f.kind)
		require.Equal(t, f, got)
	}
	hello, unsettled := frame{kind: kindHello}, frame{kind: kindFull}
	for _, f := range []*frame{&hello, &unsettled} {
		f.version, f.id, f.since, f.parts = frameVersion, "node", 1, int(f.kind-1)
		var got frame
		require.NoError(t, got.decode(f.append(nil)))
		require.False(t, got.settled)
		require.Equal(t, f.kind == kindFull, got.listed, "a hello without a list")
	}
}

// Each element of another type than the frame's makes it unreadable, except the optional numbers.
func TestFramesWithWrongElements(t *testing.T) {
	wrong := msgpack.AppendBool(nil, true)
	optional := func(f *frame, i int) bool {
		tokens := f.token != 0 && i >= len(elements(t, f.append(nil)))-2
		// Without a number nothing after it is read, which these kinds do not need.
		return i == 6 && (f.kind == kindHello || f.kind == kindFull || f.kind == kindBeat || f.kind == kindBye) || tokens
	}
	for _, f := range frames() {
		all := elements(t, f.append(nil))
		for i := range all {
			changed := append([][]byte(nil), all...)
			changed[i] = wrong
			var got frame
			err := got.decode(join(changed))
			require.Equal(t, optional(&f, i), err == nil, "kind %d, element %d: %v", f.kind, i, err)

			if r := msgpack.NewReader(all[i]); r.Kind() != msgpack.Array {
				continue
			}
			inner := elements(t, all[i])
			for j := range inner {
				bad := append([][]byte(nil), inner...)
				bad[j] = wrong
				changed[i] = join(bad)
				require.Error(t, new(frame).decode(join(changed)), "kind %d, element %d, %d", f.kind, i, j)
				if r := msgpack.NewReader(inner[j]); r.Kind() != msgpack.Array {
					continue
				}
				fields := elements(t, inner[j])
				for k := range fields {
					field := append([][]byte(nil), fields...)
					field[k] = wrong
					bad[j] = join(field)
					changed[i] = join(bad)
					require.Error(t, new(frame).decode(join(changed)), "kind %d, element %d, %d, %d", f.kind, i, j, k)
				}
				bad[j] = join(fields[:len(fields)-1])
				changed[i] = join(bad)
				require.Error(t, new(frame).decode(join(changed)), "kind %d, element %d, %d: too short", f.kind, i, j)
				bad[j] = join(append(fields[:len(fields):len(fields)], wrong))
				changed[i] = join(bad)
				require.NoError(t, new(frame).decode(join(changed)), "kind %d, element %d, %d: a later version", f.kind, i, j)
			}
		}
		b := f.append(nil)
		for n := range b {
			_ = new(frame).decode(b[:n]) // no panic
		}
		require.Empty(t, Sender(b[:3]))
	}
}

func TestFramesOutOfRange(t *testing.T) {
	decode := func(change func(f *frame)) error {
		f := frames()[kindFull-1]
		change(&f)
		return new(frame).decode(f.append(nil))
	}
	require.NoError(t, decode(func(f *frame) { f.id = strings.Repeat("x", maxNodeID) }))
	require.NoError(t, decode(func(f *frame) { f.part, f.parts = maxParts-1, maxParts }))
	require.NoError(t, decode(func(f *frame) { f.since = time.Now().Add(maxAhead / 2).UnixNano() }))
	for i, change := range []func(f *frame){
		func(f *frame) { f.id = "" },
		func(f *frame) { f.id = strings.Repeat("x", maxNodeID+1) },
		func(f *frame) { f.part, f.parts = 3, 3 },
		func(f *frame) { f.part, f.parts = 0, maxParts+1 },
		func(f *frame) { f.since = 0 },
		func(f *frame) { f.since = time.Now().Add(2 * maxAhead).UnixNano() },
		func(f *frame) { f.kind = 0 },
	} {
		require.Error(t, decode(change), fmt.Sprint(i))
	}
	later := frame{kind: kindAccuse + 1, id: "node", since: 1}
	require.ErrorIs(t, new(frame).decode(later.append(nil)), errLater)

	many := frames()[kindFull-1]
	for i := range 10 {
		many.neighbours = append(many.neighbours, fmt.Sprint(i))
	}
	var got frame
	require.NoError(t, got.decode(many.append(nil)))
	require.Equal(t, []string{"a", "b"}, got.neighbours)
	require.EqualValues(t, 5, got.echo, "what follows is read too")
}
