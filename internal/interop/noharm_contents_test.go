package interop_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
)

// harmNames are the names that a run uses.
type harmNames struct {
	kinds map[string][]string // as node/names.js prints them
	once  sync.Once
	made  []content // the contents of these names, each once
}

func readNames(t *testing.T) *harmNames {
	t.Helper()
	cmd := exec.Command("node", "names.js")
	cmd.Dir = interop.Require(t)
	out, err := cmd.Output()
	require.NoError(t, err, "names.js")
	names := new(harmNames)
	require.NoError(t, json.Unmarshal(out, &names.kinds))
	return names
}

// special are the names that have a meaning for every object, for emitters and for packets.
func (n *harmNames) special() []string {
	return slices.Concat(n.kinds["object"], n.kinds["emitter"], n.kinds["packet"], n.kinds["values"])
}

// all returns every name once. The names of every object are first.
func (n *harmNames) all() []string {
	seen := map[string]bool{}
	list := slices.Concat(n.kinds["object"], []string{"error"}, n.special(), n.kinds["others"],
		[]string{"", " ", "a b", "é", "🎉", "#", "/", "*", "[x]", "\x00", "\x1e", strings.Repeat("long", 100)})
	return slices.DeleteFunc(list, func(name string) bool {
		twice := seen[name]
		seen[name] = true
		return twice
	})
}

// worst is the number of names at the beginning of all that every run plays, with the contents made
// from them.
func (n *harmNames) worst() int { return len(n.kinds["object"]) + 1 }

// content is the argument of an operation: an event's name and its arguments.
type content struct {
	event string
	args  []any
}

func (c content) String() string { return cut(fmt.Sprintf("%q %#v", c.event, c.args)) }

// cut shortens a text for a message.
func cut(s string) string { return s[:min(len(s), 400)] }

// harmValues are values that JavaScript or a packet format may confuse with other values.
func harmValues() []any {
	return []any{
		nil, true, false, 0, -1, 1.5, math.Copysign(0, -1), math.NaN(), math.Inf(-1),
		int64(math.MaxInt64), int64(math.MinInt64), uint64(math.MaxUint64), 1e300, 5e-324, int64(1)<<53 + 1,
		"", "text", "__proto__", "\x00\u2028\ufeff🎉",
		time.Date(2026, 11, 27, 1, 2, 3, 4e6, time.UTC), time.Unix(0, 0), time.Time{}, time.UnixMilli(8.64e15),
		[]byte{}, []byte("bytes"), [2]byte{1, 2},
		[]any{}, []any{nil, []any{map[string]any{}}},
		map[string]any{}, map[string]any{"a": 1.5},
		map[string]any{"_placeholder": true, "num": 0}, map[string]any{"_placeholder": "true", "num": -1},
		map[string]any{"type": "Buffer", "data": []any{1, 2}},
		json.RawMessage(`{"a":[1,{"b":null}]}`),
	}
}

// fewValues are the values whose handling differs most.
func fewValues() []any {
	return []any{nil, 1, time.Unix(1, 0), []byte("bytes"), map[string]any{"a": []any{}}}
}

// bareValues are not combined with keys: they are large, deep, or refused by every operation.
func bareValues() []any {
	deep, list, object := any(1), make([]any, 70_000), map[string]any{}
	for range 490 {
		deep = []any{deep}
	}
	for i := range list {
		list[i] = i
	}
	for i := range 70_000 {
		object[fmt.Sprint("k", i)] = i
	}
	return []any{
		deep, list, object, strings.Repeat("text", 50_000), make([]byte, 200_000), strings.Repeat("é", 40_000),
		json.RawMessage(`{"a":1,"a":2}`), json.RawMessage(`{"__proto__":{"a":1},"__proto__":1}`), json.RawMessage(`1e999`),
		"\xff", "\xed\xa0\x80", map[string]any{"\xed\xa0\x80": 1}, []any{"\xc0\x80"}, json.RawMessage(`"\ud800"`), json.RawMessage("\"\xff\""),
		func() {}, make(chan int), 1i, time.UnixMilli(9e15), []any{deep, []any{[]any{deep}}}, json.RawMessage(`{`),
		map[int]any{1: 2, -1: 3}, map[string]map[string]string{"a": {"b": "c"}}, struct{ A, b int }{1, 2}, (*time.Time)(nil),
	}
}

// shapes put a key with its value into an argument.
var shapes = []func(key string, v any) any{
	func(key string, v any) any { return map[string]any{key: v} },
	func(key string, v any) any { return map[string]any{"user": map[string]any{key: v, "z": 1}} },
	func(key string, v any) any { return []any{1, map[string]any{"deep": []any{map[string]any{key: v}}}} },
	func(key string, v any) any { return map[string]any{key: map[string]any{key: v}} },
	tagged,
	func(key string, v any) any {
		text, err := json.Marshal(map[string]any{"a": 1, key: v})
		if err != nil {
			return map[string]string{key: "text"}
		}
		return json.RawMessage(text)
	},
}

// tagged is a struct with the key as its tag.
func tagged(key string, v any) any {
	if v == nil || strings.ContainsAny(key, "\",`\\ ") || key == "" || key == "-" || key[0] < ' ' {
		return map[string]any{"a": map[string]any{key: v}}
	}
	s := reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "First", Type: reflect.TypeFor[int]()},
		{Name: "Tagged", Type: reflect.TypeOf(v), Tag: reflect.StructTag(`json:"` + key + `"`)},
	}))
	s.Elem().Field(1).Set(reflect.ValueOf(v))
	return s.Interface()
}

// contents generates all contents: names as keys at several depths, with values of all kinds, alone
// and with binary data; names as text; single values. Fleets that run in parallel share them.
func (n *harmNames) contents() []content {
	n.once.Do(n.make)
	return n.made
}

func (n *harmNames) make() {
	add := func(args ...any) { n.made = append(n.made, content{"event", args}) }
	for _, name := range append(n.all()[:n.worst()], "_placeholder", "toJSON") { // the worst names
		add(map[string]any{name: time.Unix(1, 0)})
		add([]byte("beside"), map[string]any{name: true, "num": 0})
		add(tagged(name, []byte("bytes")))
	}
	special := map[string]bool{}
	for _, name := range n.special() {
		special[name] = true
	}
	for _, name := range n.all() {
		forms, values := shapes[:2], fewValues()
		if special[name] {
			forms, values = shapes, harmValues()
		}
		for _, shape := range forms {
			for _, v := range values {
				add(shape(name, v))
				add([]byte("beside"), shape(name, v))
			}
		}
		add(name, []byte(name), []any{name})
	}
	for _, v := range slices.Concat(harmValues(), bareValues()) {
		add(v)
		add(v, []any{v}, []byte("beside"))
	}
	add()
}

// events generates contents with the names as event names.
func (n *harmNames) events() (list []content) {
	for _, name := range append(n.all(), "\xff") {
		list = append(list, content{name, []any{1}}, content{name, []any{map[string]any{"a": time.Unix(1, 0)}, []byte("beside")}})
	}
	return list
}

// sample returns every n-th element of a list.
func sample[T any](list []T, n int) []T {
	if n <= 1 {
		return list
	}
	var out []T
	for i := 0; i < len(list); i += n {
		out = append(out, list[i])
	}
	return out
}
