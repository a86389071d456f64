package natsbroker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

func TestFrames(t *testing.T) {
	long := broker.Native.NodeResponses(strings.Repeat("n", broker.MaxNameLen), strings.Repeat("ü", broker.MaxNameLen/2))
	for _, names := range [][]byte{nil, appendNames(nil, long), appendNames(nil, broker.Native.Broadcast(long.Namespace()))} {
		data := append(appendFrame(nil, 1<<63|7, 42, names), "payload"...)
		f, payload, ok := readFrame(data)
		require.True(t, ok)
		require.EqualValues(t, 7, f.from)
		require.EqualValues(t, 42, f.seq)
		require.Equal(t, "payload", string(payload))
		require.Equal(t, names != nil, f.named, "named")
		assert.Equal(t, len(payload), cap(payload), "append to the payload overwrites the bytes after it")
		assert.LessOrEqual(t, len(data)-len(payload), frameReserve, "a frame of bytes")
		for i := range len(data) - len("payload") {
			_, _, ok := readFrame(data[:i])
			require.False(t, ok, "%d bytes are read as a frame", i)
		}
	}
	f, _, _ := readFrame(appendFrame(nil, 1, 1, appendNames(nil, long)))
	for _, ch := range []broker.Channel{long, broker.SocketIO.Room("x", "y"), broker.Native.Broadcast("x"), broker.Native.Requests("x"), broker.Native.Responses("x")} {
		got := f.channel(ch)
		assert.Equal(t, ch.Kind(), got.Kind(), "%.60v", ch)
		assert.Equal(t, ch.Protocol(), got.Protocol(), "%.60v", ch)
		assert.Equal(t, long.Namespace(), got.Namespace(), "%.60v", ch)
	}
	assert.Equal(t, broker.NodeControl(long.Name()), f.channel(broker.Control()), "a node's control channel")
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appendFrame(nil, 1, 2, nil))
	f.Add(append(appendFrame(nil, 1, 2, appendNames(nil, broker.Native.Room("a", "b"))), 1, 2, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		fr, payload, ok := readFrame(data)
		if ok && !bytes.HasSuffix(data, payload) {
			t.Fatalf("payload %q of %q", payload, data)
		}
		if ok && !fr.named && !bytes.Equal(append(appendFrame(nil, fr.from, fr.seq, nil), payload...), data) {
			t.Fatalf("%q is not encoded as it was", data)
		}
	})
}
