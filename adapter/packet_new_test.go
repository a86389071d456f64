package adapter_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// The cases of https://socket.io/docs/v4/socket-io-protocol/#packet-encoding for
// acknowledgements.
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
		assert.Equal(t, c.text, string(f.Text), c.text)
		assert.Equal(t, "4"+c.text, string(f.Engine), c.text)
		assert.Equal(t, fmt.Sprintf("%q", c.attachments), fmt.Sprintf("%q", f.Attachments), c.text)
	}
	var bad *adapter.ArgumentError
	_, err = root.AnswerFrames(1, "fine", func() {})
	require.ErrorAs(t, err, &bad)
	assert.Equal(t, 1, bad.Index, "a func in an acknowledgement")
}

func TestNewPacket(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	p, err := n.ns.NewPacket("hello", "ada", []byte("raw"))
	ok(t, err)
	assert.Equal(t, `51-/chat,7["hello","ada",{"_placeholder":true,"num":0}]`, string(p.AckFrames(7).Text))
	var name string
	ok(t, p.Bind(&name))
	assert.Equal(t, "ada", name)
	assert.Equal(t, "hello", p.Event())
	assert.Equal(t, n.UID(), p.Origin())
	assert.Equal(t, chat, p.Namespace())
	assert.False(t, p.Volatile())
	var reserved *backplane.NameError
	_, err = n.ns.NewPacket("disconnect")
	assert.ErrorAs(t, err, &reserved, "a reserved name")
}

func TestBindArgs(t *testing.T) {
	var message struct {
		Room string
		File []byte
	}
	var n int
	args := []any{map[string]any{"room": "lobby", "file": []byte{0, 255}}, float64(3)}
	ok(t, adapter.BindArgs(args, &message, &n))
	assert.Equal(t, "lobby", message.Room, "got %+v", message)
	assert.Equal(t, "\x00\xff", string(message.File), "got %+v", message)
	assert.Equal(t, 3, n, "got %+v", message)
	var bad *adapter.ArgumentError
	err := adapter.BindArgs(args, &n)
	require.ErrorAs(t, err, &bad)
	assert.Zero(t, bad.Index, "an object into an int")
	assert.ErrorAs(t, adapter.BindArgs(nil, &n), &bad, "no argument at all")
}

// Values are stored as they are, and without an allocation, where the types allow it. Others follow the rules of JSON.
func TestBindValues(t *testing.T) {
	now := time.Now()
	var (
		b        bool
		i        int
		l        int64
		f        float64
		s        string
		when     time.Time
		whatever any
	)
	args := []any{true, int64(-7), int64(1) << 53, 1.5, "text", now, "any"}
	dst := []any{&b, &i, &l, &f, &s, &when, &whatever}
	ok(t, adapter.BindArgs(args, dst...))
	assert.Equal(t, []any{true, -7, int64(1) << 53, 1.5, "text", now, any("any")}, []any{b, i, l, f, s, when, whatever})
	assert.Zero(t, testing.AllocsPerRun(10, func() { ok(t, adapter.BindArgs(args, dst...)) }))

	ok(t, adapter.BindArgs([]any{int64(3)}, &f))
	assert.Equal(t, 3.0, f)
	data := []byte{1, 2}
	var bytes []byte
	ok(t, adapter.BindArgs([]any{data}, &bytes))
	data[0] = 9
	assert.Equal(t, []byte{1, 2}, bytes, "a copy")
	buffer := map[string]any{"type": "Buffer", "data": []any{0.0, 255.0}}
	ok(t, adapter.BindArgs([]any{buffer}, &bytes))
	assert.Equal(t, []byte{0, 255}, bytes)

	var bad *adapter.ArgumentError
	for _, c := range []struct{ v, dst any }{
		{"true", &b}, {int64(1), &b}, {1.5, &i}, {1.5, &l}, {"1", &f}, {true, &s}, {"text", &when}, {"%", &bytes},
		{map[string]any{"type": "Buffer", "data": []any{0.5}}, &bytes}, {map[string]any{"type": "Buffer", "data": []any{256.0}}, &bytes},
		{map[string]any{"type": "Buffer", "data": []any{"0"}}, &bytes}, {map[string]any{"type": "other", "data": []any{0.0}}, &bytes},
		{"text", s}, {"text", (*string)(nil)}, {math.NaN(), &s},
	} {
		assert.ErrorAs(t, adapter.BindArgs([]any{c.v}, c.dst), &bad, "%v into %T", c.v, c.dst)
	}
}
