package msgpack_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// TestSmallest: an integer is written in its smallest form, up to both ends of the form.
func TestSmallest(t *testing.T) {
	for _, c := range []struct {
		v    uint64
		size int
	}{
		{0, 1}, {0x7f, 1}, {0x80, 2}, {math.MaxUint8, 2}, {math.MaxUint8 + 1, 3}, {math.MaxUint16, 3}, {math.MaxUint16 + 1, 5},
		{math.MaxUint32, 5}, {math.MaxUint32 + 1, 9}, {math.MaxUint64, 9},
	} {
		assert.Len(t, msgpack.AppendUint(nil, c.v), c.size, fmt.Sprint(c.v))
		if c.v <= math.MaxInt64 {
			assert.Len(t, msgpack.AppendInt(nil, int64(c.v)), c.size, fmt.Sprint(c.v))
		}
	}
	for _, c := range []struct {
		v    int64
		size int
	}{
		{-1, 1}, {-32, 1}, {-33, 2}, {math.MinInt8, 2}, {math.MinInt8 - 1, 3}, {math.MinInt16, 3}, {math.MinInt16 - 1, 5},
		{math.MinInt32, 5}, {math.MinInt32 - 1, 9}, {math.MinInt64, 9},
	} {
		assert.Len(t, msgpack.AppendInt(nil, c.v), c.size, fmt.Sprint(c.v))
	}
}

// TestSmallestLengths: the same for the lengths of texts, binary data, lists and maps.
func TestSmallestLengths(t *testing.T) {
	for _, c := range []struct{ n, text, binary, list int }{ // bytes of the length
		{0, 1, 2, 1}, {15, 1, 2, 1}, {16, 1, 2, 3}, {31, 1, 2, 3}, {32, 2, 2, 3}, {255, 2, 2, 3}, {256, 3, 3, 3}, {65_535, 3, 3, 3}, {65_536, 5, 5, 5},
	} {
		assert.Len(t, msgpack.AppendString(nil, strings.Repeat("x", c.n)), c.text+c.n)
		assert.Len(t, msgpack.AppendBytes(nil, make([]byte, c.n)), c.binary+c.n)
		assert.Len(t, msgpack.AppendArrayLen(nil, c.n), c.list)
		assert.Len(t, msgpack.AppendMapLen(nil, c.n), c.list)
	}
}

func TestTryRaw(t *testing.T) {
	r := msgpack.NewReader([]byte("\xa1a\x01"))
	for _, not := range []string{"\xa1b", "\xa1a\x02", "\xa1a\x01\x01", "a"} {
		assert.False(t, r.TryRaw(not), "%q", not)
		assert.Equal(t, 3, r.Len(), "%q", not)
	}
	assert.True(t, r.TryRaw("\xa1a"))
	assert.Equal(t, 1, r.Len())
	assert.True(t, r.TryRaw(""))
	assert.True(t, r.TryRaw("\x01"))
	assert.False(t, r.TryRaw("\x01"), "nothing is left")
}

// An extension has the shortest header for its length.
func TestSmallestExtensions(t *testing.T) {
	for n, head := range map[int]string{
		0: "\xc7\x00\x05", 1: "\xd4\x05", 2: "\xd5\x05", 3: "\xc7\x03\x05", 4: "\xd6\x05", 8: "\xd7\x05", 16: "\xd8\x05", 17: "\xc7\x11\x05",
		0xff: "\xc7\xff\x05", 0x100: "\xc8\x01\x00\x05", 0xffff: "\xc8\xff\xff\x05", 0x10000: "\xc9\x00\x01\x00\x00\x05",
	} {
		out, _, err := msgpack.AppendValue(nil, msgpack.Ext{Type: 5, Data: make([]byte, n)})
		if assert.NoError(t, err) && assert.Len(t, out, len(head)+n, "%d bytes", n) {
			assert.Equal(t, head, string(out[:len(head)]), "%d bytes", n)
		}
	}
}
