package msgpack_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// Values as JavaScript converts them to text, and to a condition.
func TestScript(t *testing.T) {
	for in, want := range map[string]struct {
		text   string
		truthy bool
	}{
		"\xc0": {"null", false}, "\xc2": {"false", false}, "\xc3": {"true", true}, "\x00": {"0", false}, "\x05": {"5", true}, "\xff": {"-1", true},
		"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00": {"NaN", false}, "\xca\x3f\xc0\x00\x00": {"1.5", true}, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff": {"18446744073709552000", true},
		"\xa0": {"", false}, "\xa1a": {"a", true}, "\xa1\xff": {"\ufffd", true}, "\xc4\x00": {"", true}, "\xc4\x02a\xff": {"a\ufffd", true},
		"\x90": {"", true}, "\x93\x01\xc0\x92\xa1a\xd4\x00\x00": {"1,,a,", true}, "\x80": {"[object Object]", true},
		"\xd4\x00\x00": {"undefined", false}, "\xc7\x01\x00a": {"[object ArrayBuffer]", true}, "\xd4\x05a": {"5,a", true},
		"\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x00": {"Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)", true}, "\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff": {"Invalid Date", true},
	} {
		r := msgpack.NewReader([]byte(in))
		text, err := r.Script()
		if assert.NoError(t, err, "%x", in) {
			assert.Equal(t, want.text, text, "%x", in)
			assert.Zero(t, r.Len(), "%x", in)
		}
		r = msgpack.NewReader([]byte(in))
		truthy, err := r.Truthy()
		if assert.NoError(t, err, "%x", in) {
			assert.Equal(t, want.truthy, truthy, "%x", in)
			assert.Zero(t, r.Len(), "%x", in)
		}
	}
	for _, in := range []string{"", "\xc1", "\xa2a", "\x92\x01", "\xcd\x01", "\xc7", strings.Repeat("\x91", 600) + "\xc0"} {
		r := msgpack.NewReader([]byte(in))
		_, err := r.Script()
		var syntax *msgpack.SyntaxError
		if assert.ErrorAs(t, err, &syntax, "%.10x", in) {
			assert.Zero(t, r.Offset(), "%.10x", in)
		}
	}
}

func TestRawWithin(t *testing.T) {
	for in, deep := range map[string]int{
		"\x01": 0, "\x90": 1, "\x91\xc0": 1, "\x91\x91\xc0": 2, "\x91\x90": 2, "\x92\x80\x81\xa1a\x91\x91\x01": 4, "\x93\x91\x01\x91\x01\x91\x01": 2,
		strings.Repeat("\x91", 100_000) + "\xc0": 100_000,
	} {
		for levels := range 6 {
			r := msgpack.NewReader([]byte(in))
			raw, err := r.RawWithin(levels)
			if fits := deep <= levels; fits != (err == nil) || fits && string(raw) != in || !fits && r.Offset() != 0 {
				t.Errorf("%.10x within %d: %v", in, levels, err)
			}
		}
	}
}
