package natsbroker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/crossroom/crossroom/broker"
)

func TestFrames(t *testing.T) {
	long := broker.Native.NodeResponses(strings.Repeat("n", broker.MaxNameLen), strings.Repeat("ü", broker.MaxNameLen/2))
	for _, names := range [][]byte{nil, appendNames(nil, long), appendNames(nil, broker.Native.Broadcast(long.Namespace()))} {
		data := append(appendFrame(nil, 1<<63|7, 42, names), "payload"...)
		f, payload, ok := readFrame(data)
		if !ok || f.from != 7 || f.seq != 42 || string(payload) != "payload" || f.named != (names != nil) {
			t.Fatalf("got %+v %q %v", f, payload, ok)
		}
		if cap(payload) != len(payload) {
			t.Error("whoever appends to the payload writes over what is behind it")
		}
		if n := len(data) - len(payload); n > frameReserve {
			t.Errorf("a frame of %d bytes", n)
		}
		for i := range len(data) - len("payload") {
			if _, _, ok := readFrame(data[:i]); ok {
				t.Fatalf("%d bytes are taken for a frame", i)
			}
		}
	}
	f, _, _ := readFrame(appendFrame(nil, 1, 1, appendNames(nil, long)))
	for _, ch := range []broker.Channel{long, broker.SocketIO.Room("x", "y"), broker.Native.Broadcast("x"), broker.Native.Requests("x"), broker.Native.Responses("x")} {
		got := f.channel(ch)
		if got.Kind() != ch.Kind() || got.Protocol() != ch.Protocol() || got.Namespace() != long.Namespace() {
			t.Errorf("%.60v became %.60v", ch, got)
		}
	}
	if got := f.channel(broker.Control()); got != broker.NodeControl(long.Name()) {
		t.Errorf("a node's control channel became %.60v", got)
	}
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
			t.Fatalf("%q does not come back", data)
		}
	})
}
