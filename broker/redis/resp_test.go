package redisbroker

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadFrames(t *testing.T) {
	long := strings.Repeat("x", 2*readBuffer)
	in := string(appendCommand(nil, "message", "name", "payload")) +
		string(appendCommand(nil, "pmessage", "na*", "name", "")) +
		string(appendCommand(nil, "message", "name", long)) +
		string(appendCommand(nil, "message", long, "x")) +
		"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n" +
		"*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n" +
		"*2\r\n$4\r\npong\r\n$0\r\n\r\n" +
		"+PONG\r\n" +
		string(appendCommand(nil, "pmessage", "na*", "namely", "again")) +
		string(appendCommand(nil, "pmessage", "nam*", "names", "other")) +
		string(appendCommand(nil, "pmessage", "nam*", "name", "")) +
		"-NOPERM this user\r\n"
	r := bufio.NewReaderSize(strings.NewReader(in), readBuffer)
	var f frame
	type message struct {
		frame
		payload string
		skip    bool
	}
	for i, want := range []message{
		{frame: frame{kind: frameMessage, name: []byte("name")}, payload: "payload"},
		{frame: frame{kind: framePMessage, pattern: []byte("na*"), name: []byte("name")}},
		{frame: frame{kind: frameMessage, name: []byte("name")}, payload: long},
		{frame: frame{kind: frameMessage}, payload: "x", skip: true},
		{frame: frame{kind: frameSubscribed, name: []byte("a")}},
		{frame: frame{kind: frameUnsubscribed}},
		{frame: frame{kind: framePong}}, {frame: frame{kind: framePong}},
		{frame: frame{kind: framePMessage, pattern: []byte("na*"), name: []byte("namely")}, payload: "again"},
		{frame: frame{kind: framePMessage, pattern: []byte("nam*"), name: []byte("names")}, payload: "other"},
		{frame: frame{kind: framePMessage, pattern: []byte("nam*"), name: []byte("name")}, payload: ""},
		{frame: frame{kind: frameError, err: "NOPERM this user"}},
	} {
		require.NoError(t, readFrame(r, &f), "frame %d", i)
		if f.kind != want.kind || !bytes.Equal(f.name, want.name) || f.err != want.err ||
			f.kind == framePMessage && !bytes.Equal(f.pattern, want.pattern) {
			t.Fatalf("frame %d: %.200v, want %.200v", i, f, want)
		}
		if f.kind != frameMessage && f.kind != framePMessage {
			continue
		}
		if want.skip {
			require.NoError(t, skipPayload(r), "frame %d", i)
		} else if payload, err := readPayload(r); err != nil || string(payload) != want.payload {
			t.Fatalf("frame %d: %.200q, %v", i, payload, err)
		}
	}
	require.Equal(t, io.EOF, readFrame(r, &f), "at the end")
}

func TestTakeIntegers(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, ":": 0, ":1\r": 0, ":1\r\n": 1, ":1\r\n:20\r\n": 2, ":1\r\n:2": 1,
		":1\r\n-ERR\r\n:2\r\n": 1, "+PONG\r\n:1\r\n": 0, ":1\n:2\r\n": 0, ":\r\n": 0,
	} {
		r := bufio.NewReader(strings.NewReader(in))
		r.Peek(1)
		before := r.Buffered()
		if got := takeIntegers(r); got != want || want == 0 && r.Buffered() != before {
			t.Errorf("%q: took %d, %d bytes of %d are left", in, got, r.Buffered(), before)
		}
	}
}

// FuzzReplies gives arbitrary bytes to every reader of server replies. Each returns an error or
// a value, without a panic and without a long wait.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"))
	f.Add([]byte("*2\r\n$1\r\na\r\n:12\r\n"))
	f.Add([]byte("*4\r\n$8\r\npmessage\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n"))
	f.Add([]byte("-ERR no\r\n:1\r\n+OK\r\n"))
	f.Add([]byte("*1000000000\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(in), readBuffer)
		var fr frame
		for readFrame(r, &fr) == nil {
			switch {
			case fr.kind == 0:
				t.Fatal("a frame of no kind")
			case fr.kind != frameMessage && fr.kind != framePMessage:
			case len(fr.name)%2 == 0:
				_, _ = readPayload(r)
			default:
				_ = skipPayload(r)
			}
		}
		readList(bufio.NewReader(bytes.NewReader(in)), "X")
		readSimple(bufio.NewReader(bytes.NewReader(in)), "X")
	})
}
