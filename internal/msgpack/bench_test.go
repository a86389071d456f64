package msgpack_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/crossroom/crossroom/internal/msgpack"
)

type benchUser struct {
	Name string   `json:"name"`
	Age  int      `json:"age"`
	Tags []string `json:"tags"`
}

// benchValues are typical values of applications.
func benchValues() (names []string, values []any) {
	row := map[string]any{"id": 1, "name": "someone else", "text": "a few words of text", "at": 1.5, "ok": true}
	list := make([]any, 20)
	for i := range list {
		list[i] = row
	}
	add := func(name string, v any) { names, values = append(names, name), append(values, []any{"event", v}) }
	add("text", "a few words of text")
	add("map", row)
	add("struct", &benchUser{"someone else", 30, []string{"a", "b"}})
	add("structs", []benchUser{{"a", 1, nil}, {"b", 2, []string{"x"}}, {"c", 3, nil}})
	add("list", list)
	add("date", time.UnixMilli(1_700_000_000_000))
	add("binary", []any{row, make([]byte, 100)})
	add("json", json.RawMessage(`{"id":1,"name":"anna","text":"a few words of text","at":1.5,"ok":true}`))
	return names, values
}

func benchmark(b *testing.B, run func(v any, raw []byte)) {
	names, values := benchValues()
	for i, name := range names {
		raw := encode(b, values[i])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run(values[i], raw)
			}
		})
	}
}

func BenchmarkAppendValue(b *testing.B) {
	var dst []byte
	benchmark(b, func(v any, _ []byte) { dst, _, _ = msgpack.AppendValue(dst[:0], v) })
}

func BenchmarkAppendJSON(b *testing.B) {
	var dst []byte
	attach := func([]byte) int { return 0 }
	benchmark(b, func(_ any, raw []byte) { dst, _ = msgpack.AppendJSON(dst[:0], raw, attach) })
}

func BenchmarkDecode(b *testing.B) {
	benchmark(b, func(_ any, raw []byte) { _, _ = msgpack.Decode(raw) })
}

func BenchmarkFromJSON(b *testing.B) {
	var dst []byte
	names, values := benchValues()
	for i, name := range names {
		text, err := msgpack.AppendJSON(nil, encode(b, values[i]), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = msgpack.FromJSON(dst[:0], text)
			}
		})
	}
}
