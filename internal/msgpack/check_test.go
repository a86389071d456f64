package msgpack_test

import (
	"bytes"
	"testing"

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
		if err := msgpack.Check([]byte(c.in), c.depth); (err == nil) != c.ok {
			t.Errorf("%.20x at depth %d: %v", c.in, c.depth, err)
		}
	}
}
