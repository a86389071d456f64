package msgpack_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/msgpack"
)

func TestCheck(t *testing.T) {
	nested := append(bytes.Repeat([]byte{0x91}, 510), 0xc0)
	for _, c := range []struct {
		in    string
		depth int
		ok    bool
	}{
		{"\x93\x01\xa2\xc3\xa9\xc4\x01\xff", 0, true}, {"\x82\xa1a\xc0\xa1b\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00", 0, true},
		{string(nested), 2, true}, {string(nested), 3, false}, {"\xc0", 512, true}, {"\x90", 512, false},
		{"\x91\xa1\xff", 0, false}, {"\x81\xa1\xff\x01", 0, false}, {"\x01\x01", 0, false}, {"", 0, false}, {"\x92\x01", 0, false},
		{string(bytes.Repeat([]byte{0x91}, 100_000)), 0, false},
	} {
		_, err := msgpack.Check([]byte(c.in), c.depth)
		assert.Equal(t, c.ok, err == nil, "%.20x at depth %d: %v", c.in, c.depth, err)
	}
}

func TestTraits(t *testing.T) {
	for in, want := range map[string]msgpack.Traits{
		"\x91\x01": 0, "\x91\x91\xc4\x01a": msgpack.HasBinary, "\x81\xa1a\xc7\x01\x00b": msgpack.HasBinary, "\xd7\x00abcdefgh": 0, "\xd4\x00\x00": 0,
		"\x92\xd6\xff\x00\x00\x00\x01\xc4\x00": msgpack.HasBinary | msgpack.HasTimestamp, "\xd4\x05\x00": msgpack.HasBinary, "\xd4\xff\x00": msgpack.HasBinary | msgpack.HasOddExt,
		"\x81\xc4\x00\x01": msgpack.HasBinary | msgpack.HasOddKey,
	} {
		got, err := msgpack.Check([]byte(in), 0)
		if assert.NoError(t, err, "%x", in) {
			assert.Equal(t, want, got, "%x", in)
		}
	}
}
