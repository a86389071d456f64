package msgpack_test

import (
	"bytes"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/msgpack"
)

func TestDecode(t *testing.T) {
	date := time.UnixMilli(1700000000123).UTC()
	for _, c := range []struct {
		in   string
		want any
	}{
		{"\xc0", nil}, {"\xd4\x00\x00", nil}, {"\xc3", true}, {"\x05", int64(5)}, {"\xff", int64(-1)},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", uint64(math.MaxUint64)}, {"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", int64(5)},
		{"\xca\x3f\xc0\x00\x00", 1.5}, {"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5}, {"\xa2\xc3\xa9", "é"}, {"\xc4\x02ab", []byte("ab")}, {"\xc4\x00", []byte{}},
		{string(msgpack.AppendTime(nil, date)), date}, {"\xd6\xff\x00\x00\x00\x01", time.Unix(1, 0).UTC()}, {"\xc7\x03\x00abc", []byte("abc")},
		{"\x93\x01\xa1a\xc0", []any{int64(1), "a", nil}}, {"\x90", []any{}}, {"\x80", map[string]any{}},
		{"\x85\x01\x01\xc2\x02\xc0\x03\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x04\xc4\x01k\x05",
			map[string]any{"1": int64(1), "false": int64(2), "null": int64(3), "1.5": int64(4), "k": int64(5)}},
		{"\x82\xa1a\x01\xa1a\x02", map[string]any{"a": int64(2)}},
	} {
		got, err := msgpack.Decode([]byte(c.in))
		if assert.NoError(t, err, "%x", c.in) {
			assert.Equal(t, c.want, got, "%x", c.in)
		}
	}
	got, err := msgpack.Decode([]byte("\xd5\x07ab"))
	require.NoError(t, err)
	e, ok := got.(msgpack.Ext)
	require.True(t, ok, "foreign extension: %#v", got)
	assert.EqualValues(t, 7, e.Type)
	assert.Equal(t, "ab", string(e.Data))
}

func TestDecodeCopies(t *testing.T) {
	in := []byte("\x94\xa3abc\xc4\x03abc\x81\xa3abc\x01\xc7\x03\x00abc")
	got, err := msgpack.Decode(in)
	require.NoError(t, err)
	clear(in)
	want := []any{"abc", []byte("abc"), map[string]any{"abc": int64(1)}, []byte("abc")}
	assert.Equal(t, want, got)
}

func TestDecodeRefuses(t *testing.T) {
	for _, in := range []string{
		"", "\x01\x01", "\xa2\xff", "\x81\x90", "\x81\x91\x01", "\x91", "\x92\x01\xc1",
		string(bytes.Repeat([]byte{0x91}, 513)) + "\xc0",
		string(bytes.Repeat([]byte{0x91}, 100_000)) + "\xc0",
		string(bytes.Repeat([]byte{0x81, 0xa0}, 100_000)) + "\xc0",
	} {
		got, err := msgpack.Decode([]byte(in))
		var syntax *msgpack.SyntaxError
		if assert.ErrorAs(t, err, &syntax, "%.20x", in) {
			assert.Nil(t, got, "%.20x", in)
		}
		out, err := msgpack.AppendJSON([]byte("kept"), []byte(in), nil)
		if assert.ErrorAs(t, err, &syntax, "%.20x as JSON", in) {
			assert.Equal(t, "kept", string(out), "%.20x as JSON", in)
		}
	}
	_, err := msgpack.Decode(append(bytes.Repeat([]byte{0x91}, 512), 0xc0))
	assert.NoError(t, err, "512 levels")
}

// Nested arrays that each declare the whole rest of the input must not add up.
func TestDecodeAllocatesInProportion(t *testing.T) {
	var in []byte
	for range 500 {
		in = append(in, 0xdd, 0x00, 0x01, 0x00, 0x00)
	}
	in = append(in, make([]byte, 1<<16)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := msgpack.Decode(in)
	assert.Error(t, err, "accepted")
	runtime.ReadMemStats(&after)
	assert.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "bytes allocated for %d of input", len(in))
}
