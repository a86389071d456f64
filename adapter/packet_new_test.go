package adapter_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// The cases of https://socket.io/docs/v4/socket-io-protocol/#packet-encoding for
// answers.
func TestAnswerFrames(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	root, err := n.Of(t.Context(), "/")
	ok(t, err)
	for _, c := range []struct {
		ns          *adapter.Namespace
		id          uint64
		args        []any
		text        string
		attachments []string
	}{
		{root, 12, nil, `312[]`, nil},
		{n.ns, 13, []any{"bar"}, `3/chat,13["bar"]`, nil},
		{root, 0, []any{1, nil, map[string]bool{"ok": true}}, `30[1,null,{"ok":true}]`, nil},
		{root, 15, []any{"bar", []byte{1, 2, 3, 4}}, `61-15["bar",{"_placeholder":true,"num":0}]`, []string{"\x01\x02\x03\x04"}},
		{n.ns, math.MaxUint64, []any{[]byte("a"), []any{[]byte("b")}}, `62-/chat,18446744073709551615[{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]`, []string{"a", "b"}},
	} {
		f, err := c.ns.AnswerFrames(c.id, c.args...)
		ok(t, err)
		if string(f.Text) != c.text || string(f.Engine) != "4"+c.text || fmt.Sprintf("%q", f.Attachments) != fmt.Sprintf("%q", c.attachments) {
			t.Errorf("got %s (%s) and %q, want %s and %q", f.Text, f.Engine, f.Attachments, c.text, c.attachments)
		}
	}
	var bad *adapter.ArgumentError
	if _, err := root.AnswerFrames(1, "fine", func() {}); !errors.As(err, &bad) || bad.Index != 1 {
		t.Errorf("a func in an answer: %v", err)
	}
}

func TestNewPacket(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	p, err := n.ns.NewPacket("hello", "ada", []byte("raw"))
	ok(t, err)
	if got := string(p.AckFrames(7).Text); got != `51-/chat,7["hello","ada",{"_placeholder":true,"num":0}]` {
		t.Errorf("frames: %s", got)
	}
	var name string
	ok(t, p.Bind(&name))
	if name != "ada" || p.Event() != "hello" || p.Origin() != n.UID() || p.Namespace() != chat || p.Volatile() {
		t.Errorf("name %q, event %q, origin %q, namespace %q, volatile %v", name, p.Event(), p.Origin(), p.Namespace(), p.Volatile())
	}
	var reserved *backplane.NameError
	if _, err := n.ns.NewPacket("disconnect"); !errors.As(err, &reserved) {
		t.Errorf("a reserved name: %v", err)
	}
}

func TestBindArgs(t *testing.T) {
	var message struct {
		Room string
		File []byte
	}
	var n int
	args := []any{map[string]any{"room": "lobby", "file": []byte{0, 255}}, float64(3)}
	ok(t, adapter.BindArgs(args, &message, &n))
	if message.Room != "lobby" || string(message.File) != "\x00\xff" || n != 3 {
		t.Errorf("got %+v and %d", message, n)
	}
	var bad *adapter.ArgumentError
	if err := adapter.BindArgs(args, &n); !errors.As(err, &bad) || bad.Index != 0 {
		t.Errorf("an object into an int: %v", err)
	}
	if err := adapter.BindArgs(nil, &n); !errors.As(err, &bad) {
		t.Errorf("no argument at all: %v", err)
	}
}
