package interop_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/internal/interop"
)

func without(list []interop.Generation, g interop.Generation) []interop.Generation {
	return slices.DeleteFunc(slices.Clone(list), func(x interop.Generation) bool { return x == g })
}

var names = strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z")

// hostileRooms are room names that every version allows.
var hostileRooms = []any{
	"", " ", "#", "a#b", "##", "*", "?", "[a-z]", `\`, `\*`, "{}", "42", "-1", "1e3", "true", "null",
	"grün", "日本語", "🎉🏳️‍🌈", "\x00", "a\nb", "__proto__x", "socket.io#/#", strings.Repeat("long ", 205), "ends in #",
}

var moment = time.Date(2024, 2, 29, 12, 34, 56, 789e6, time.UTC)

const payloadBinary = "payload: binary"

var payloads = []struct {
	operation string
	values    [][]any // the arguments of several events
}{
	{"payload: nothing and simple values", [][]any{
		{},
		{nil},
		{true, false, nil, "", 0},
	}},
	{"payload: text and Unicode", [][]any{
		{"plain", "grün", "日本語", "🎉 🏳️‍🌈 e\u0301", "\u202Eright to left", "\x00\x01\x7f", "\u2028\u2029", `"quoted" \ and / <&>`},
		{strings.Repeat("é", 31), strings.Repeat("x", 255), strings.Repeat("x", 256)},
	}},
	{"payload: numbers", [][]any{
		{0, 1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, 1<<53 - 1},
		{-1, -32, -33, -128, -129, -32768, -32769, math.MinInt32, math.MinInt32 - 1, -(1<<53 - 1)},
		{0.5, -0.25, 3.141592653589793, 1e-300, 5e-324, 0.1 + 0.2, -1.5e-7},
	}},
	{"payload: dates", [][]any{
		{moment, args{"at": moment}},
		{time.UnixMilli(0), time.UnixMilli(-1), time.Date(2200, 1, 1, 0, 0, 0, 1e6, time.UTC)},
	}},
	{payloadBinary, [][]any{
		{[]byte{}},
		{[]byte{0, 1, 2, 255}, "text", []byte("and more")},
		{bytes.Repeat([]byte{7}, 255), bytes.Repeat([]byte{8}, 256)},
		{args{"file": args{"name": "x", "parts": []any{[]byte{1}, []byte{2}}}}},
		{[]byte{1}, moment},
	}},
	{"payload: nested values", [][]any{
		{[]any{}, args{}, []any{[]any{[]any{}}}, args{"a": args{"b": args{"c": []any{1, nil, "x"}}}}},
		{manyKeys(15), manyKeys(16), manyKeys(1000), manyItems(15), manyItems(16)},
		{args{"": 1, "1": 2, "ключ": 3, "a.b": 4, "constructor": 5}},
		manyItems(40),
	}},
}

func manyKeys(n int) args {
	m := args{}
	for i := range n {
		m[strings.Repeat("k", i%40)+string(rune('A'+i%26))] = i
	}
	return m
}

func manyItems(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// payloadCases are the cases about the contents of events.
var payloadCases = func() []testCase {
	out := []testCase{{"payload: large values", senders, all, all, func(s *scene) {
		s.populate()
		s.awaitBinary()
		// Lengths that need 32 bits.
		for _, v := range []any{strings.Repeat("語", 30000), bytes.Repeat([]byte{8}, 70000), manyItems(65536)} {
			s.ask("emit", args{"to": []any{"blue"}, "event": "payload", "args": []any{v}})
			s.expect(in("blue"), "payload", v)
		}
	}}}
	for _, p := range payloads {
		out = append(out, testCase{p.operation, senders, all, all, func(s *scene) {
			s.populate()
			if p.operation == payloadBinary {
				s.awaitBinary()
			}
			for _, v := range p.values {
				s.ask("emit", args{"event": "payload", "args": v})
				s.expect(everybody, "payload", v...)
				s.ask("emit", args{"to": []any{"blue"}, "event": "payload", "args": v})
				s.expect(in("blue"), "payload", v...)
			}
		}})
	}
	return out
}()
