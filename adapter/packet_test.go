package adapter_test

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
)

// packetOf emits an event to a socket and returns what it gets.
func packetOf(t testing.TB, namespace, event string, args ...any) *adapter.Packet {
	t.Helper()
	n := fleet(t, 1, adapter.Options{})[0]
	ns, err := n.Of(t.Context(), namespace)
	ok(t, err)
	s := newSocket("s")
	ok(t, ns.Add(t.Context(), s))
	ok(t, ns.Emit(t.Context(), event, args...))
	return s.next(t)
}

func TestBind(t *testing.T) {
	when := time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)
	type user struct {
		Name string    `json:"name"`
		Age  int       `json:"age"`
		Key  []byte    `json:"key"`
		Seen time.Time `json:"seen"`
	}
	u := user{Name: "Ada", Age: 36, Key: []byte{1, 2}, Seen: when}
	p := packetOf(t, "/", "x", "text", 7, 2.5, true, []byte("bin"), when, u, []int{1, 2}, "skipped", map[string]int{"a": 1}, 3)
	var (
		text     string
		number   int
		fraction float64
		yes      bool
		bin      []byte
		date     time.Time
		got      user
		list     []int
		m        map[string]int
		whole    float64
	)
	ok(t, p.Bind(&text, &number, &fraction, &yes, &bin, &date, &got, &list, nil, &m, &whole))
	if text != "text" || number != 7 || fraction != 2.5 || !yes || string(bin) != "bin" || !date.Equal(when) || whole != 3 {
		t.Error(text, number, fraction, yes, bin, date, whole)
	}
	if !reflect.DeepEqual(got, u) || !reflect.DeepEqual(list, []int{1, 2}) || m["a"] != 1 {
		t.Error(got, list, m)
	}
	var small int8
	var raw json.RawMessage
	ok(t, p.Bind(nil, &small, nil, nil, nil, nil, &raw))
	if small != 7 || !json.Valid(raw) {
		t.Error(small, raw)
	}
	bin[0] = 'X'
	assert.Equal(t, "bin", string(p.Args()[4].([]byte)), "Bind gave away shared memory")
	ok(t, p.Bind()) // fewer than the arguments
}

// An empty event name is one like any other, as in Socket.IO.
func TestEmptyEventName(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	heard := make(chan string, 1)
	_, err := nodes[1].ns.OnServerSideEmit("", func(_ context.Context, e *adapter.ServerEvent) { heard <- e.Event })
	ok(t, err)
	for _, n := range nodes {
		n.add(t, n.UID())
	}
	ok(t, nodes[0].ns.Emit(t.Context(), "", 1))
	ok(t, nodes[0].ns.ServerSideEmit(t.Context(), ""))
	for _, n := range nodes {
		s, _ := n.ns.Socket(n.UID())
		p := s.(*socket).next(t)
		require.NoError(t, p.Err())
		assert.Empty(t, p.Event())
		require.Len(t, p.Args(), 1)
		assert.Equal(t, `42/chat,["",1]`, string(p.Frames().Engine))
	}
	select {
	case <-heard:
	case <-time.After(patience):
		t.Error("the server did not get it")
	}
}

func TestBindErrors(t *testing.T) {
	p := packetOf(t, "/", "x", "text", 300)
	var s string
	var n int
	var small uint8
	for what, bad := range map[string]struct {
		index int
		dst   []any
	}{
		"wrong type":     {0, []any{&n}},
		"out of range":   {1, []any{nil, &small}},
		"not a pointer":  {0, []any{s}},
		"nothing there":  {2, []any{&s, &n, &n}},
		"a nil pointer":  {1, []any{&s, (*int8)(nil)}},
		"a nil pointer ": {0, []any{(*string)(nil)}},
	} {
		var arg *adapter.ArgumentError
		err := p.Bind(bad.dst...)
		if assert.ErrorAs(t, err, &arg, what) {
			assert.Equal(t, bad.index, arg.Index, what)
		}
	}
}

// The documentation of Bind: the caller owns what it stores, except in a *any.
func TestBindCopies(t *testing.T) {
	p := packetOf(t, "/", "x", []byte("raw"), map[string]any{"a": []any{"b"}})
	var raw []byte
	var object map[string]any
	var shared any
	require.NoError(t, p.Bind(&raw, &object))
	raw[0], object["a"].([]any)[0] = '!', "!"
	require.NoError(t, p.Bind(&shared))
	assert.Equal(t, []byte("raw"), shared)
	assert.Equal(t, []any{[]byte("raw"), map[string]any{"a": []any{"b"}}}, p.Args())
	assert.Same(t, &shared.([]byte)[0], &p.Args()[0].([]byte)[0])
}
