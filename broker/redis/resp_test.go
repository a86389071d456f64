package redisbroker

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
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
		"-NOPERM this user\r\n"
	r := bufio.NewReaderSize(strings.NewReader(in), readBuffer)
	var f frame
	for i, want := range []frame{
		{kind: frameMessage, name: []byte("name"), payload: []byte("payload")},
		{kind: framePMessage, pattern: []byte("na*"), name: []byte("name"), payload: []byte{}},
		{kind: frameMessage, name: []byte("name"), payload: []byte(long)},
		{kind: frameMessage, payload: []byte("x")},
		{kind: frameSubscribed, name: []byte("a")},
		{kind: frameUnsubscribed},
		{kind: framePong}, {kind: framePong},
		{kind: frameError, err: "NOPERM this user"},
	} {
		if err := readFrame(r, &f); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if f.kind != want.kind || !bytes.Equal(f.name, want.name) || !bytes.Equal(f.pattern, want.pattern) || !bytes.Equal(f.payload, want.payload) || f.err != want.err {
			t.Fatalf("frame %d: %.200v, want %.200v", i, f, want)
		}
	}
	if err := readFrame(r, &f); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

// FuzzReplies feeds every reader of server bytes with anything: it gives an error or
// a value, soon, without a panic.
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
			if fr.kind == 0 {
				t.Fatal("a frame of no kind")
			}
		}
		readList(bufio.NewReader(bytes.NewReader(in)), "X")
		readSimple(bufio.NewReader(bytes.NewReader(in)), "X")
	})
}
