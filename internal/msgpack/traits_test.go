package msgpack_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/msgpack"
)

type tagged struct {
	Proto any `json:"__proto__"`
}

type embedding struct {
	tagged
	Own int `json:"hasOwnProperty,omitempty"`
}

// TestKeyTraits checks that the encoder detects the same traits as Check in its result, and that Find returns their
// paths.
func TestKeyTraits(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		v      any
		traits msgpack.Traits
		path   string
	}{
		{m{"a": 1, "__proto": 1, "__proto___": 1, "proto": "__proto__"}, 0, "[]"},
		{m{"__proto__": 1}, msgpack.HasProto, "[__proto__]"},
		{[]any{1, m{"a": []any{m{"__proto__": nil}}}}, msgpack.HasProto, "[1 a 0 __proto__]"},
		{map[string]int{"a": 1, "hasOwnProperty": 2}, msgpack.HasOwnProperty, "[hasOwnProperty]"},
		{m{"x": tagged{time.Now()}}, msgpack.HasProto, "[x __proto__]"},
		{&embedding{Own: 1}, msgpack.HasProto | msgpack.HasOwnProperty, "[__proto__]"},
		{embedding{}, msgpack.HasProto, "[__proto__]"},
		{json.RawMessage(`[{"b":{"__proto__":{}}}]`), msgpack.HasProto, "[0 b __proto__]"},
		{m{"_placeholder": 1}, 0, "[]"},
		{m{"_placeholder": false}, 0, "[]"},
		{m{"p": m{"num": 0, "_placeholder": true}}, msgpack.HasPlaceholder, "[p _placeholder]"},
		{msgpack.Raw("\x81\xc4\x01a\x01"), msgpack.HasOddKey | msgpack.HasBinary, "[]"},
		{[]any{msgpack.Raw("\x81\x91\xa1a\x01")}, msgpack.HasOddKey, "[0]"},
		{msgpack.Raw("\x83\x01\x02\xc2\x03\xc0\x04"), 0, "[]"},
		{m{"e": msgpack.Ext{Type: -1, Data: []byte("12345")}}, msgpack.HasOddExt | msgpack.HasBinary, "[e]"},
		{msgpack.Ext{Type: -1, Data: []byte("1234")}, msgpack.HasTimestamp, "[]"},
		{[]any{[]byte{1}, m{"__proto__": 1}}, msgpack.HasBinary | msgpack.HasProto, "[1 __proto__]"},
	} {
		out, traits, err := msgpack.AppendValue([]byte("before"), c.v)
		if err != nil || traits != c.traits {
			t.Errorf("%#v: traits %b, %v; want %b", c.v, traits, err, c.traits)
			continue
		}
		out = out[len("before"):]
		checked, err := msgpack.Check(out, 0)
		if assert.NoError(t, err, "%#v: Check", c.v) {
			assert.Equal(t, traits, checked, "%#v: Check", c.v)
		}
		harmful := traits &^ (msgpack.HasBinary | msgpack.HasTimestamp)
		path, found := msgpack.Find(out, harmful)
		got := fmt.Sprint(path)
		assert.Equal(t, c.path, got, "%#v: Find", c.v)
		assert.Equal(t, found, found&harmful, "%#v: Find", c.v)
		assert.Equal(t, harmful != 0, found != 0, "%#v: Find", c.v)
	}
}

// Values behind an extension are counted too.
func TestBinaries(t *testing.T) {
	for b, n := range map[string]int{
		"\x01":                              0,
		"\xc4\x01a":                         1,
		"\x93\xd4\x05\x00\xc4\x01a\xc4\x00": 3,
		"\x94\xd6\xff\x00\x00\x00\x01\xc4\x00\xa1a\xc4\x00": 2,
		"\x81\xa1k\x92\xc4\x00\xd4\x05\x00":                 2,
	} {
		_, err := msgpack.Check([]byte(b), 0)
		assert.NoError(t, err, "%q", b)
		assert.Equal(t, n, msgpack.Binaries([]byte(b)), "%q", b)
	}
}
