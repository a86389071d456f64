package msgpack_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/msgpack"
)

func TestPortable(t *testing.T) {
	// 2023-11-14T22:13:20Z in the forms of notepack.io 3 and 2.
	const stamp, date = "\xd6\xff\x65\x53\xf1\x00", "\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x00"
	tests := []struct{ name, in, want string }{
		{"no date", "\x92\x01\xa1x", "\x92\x01\xa1x"},
		{"nothing", "", ""},
		{"a date", stamp, date},
		{"old form", date, date},
		{"64 bits", "\xd7\xff\x1d\x53\x5a\x00\x65\x53\xf1\x00", "\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b"},
		{"96 bits", "\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", "\xd7\x00\xff\xff\xff\xff\xff\xff\xfc\x18"},
		{"inside", "\x93\x01\x82\xa1a" + stamp + "\xa1b\x91" + stamp + "\xc4\x01\xff", "\x93\x01\x82\xa1a" + date + "\xa1b\x91" + date + "\xc4\x01\xff"},
		{"binary that looks like one", "\xc4\x06" + stamp, "\xc4\x06" + stamp},
		{"text that is none", "\x92\xa2\xffa\x81\xa1\x80\xa1b", "\x92\xa4\ufffda\x81\xa3\ufffd\xa1b"},
		{"wide numbers stay wide", "\x92\xcf\x00\x00\x00\x00\x00\x00\x00\x01" + stamp, "\x92\xcf\x00\x00\x00\x00\x00\x00\x00\x01" + date},
		{"other extensions", "\x92\xd4\x00\x00\xc7\x03\x00abc", "\x92\xd4\x00\x00\xc7\x03\x00abc"},
		{"no date of that length", "\xd5\xff\x00\x00", "\xd5\xff\x00\x00"},
		{"malformed", "\x92" + stamp + "\xc4\x05x", "\x92" + stamp + "\xc4\x05x"},
	}
	for _, test := range tests {
		in := []byte(test.in)
		got := msgpack.Portable(in)
		assert.Equal(t, test.want, string(got), test.name)
		assert.Equal(t, []byte(test.in), in, "%s: the input was changed", test.name)
		if test.in != "" && test.in == test.want && &got[0] != &in[0] {
			t.Errorf("%s: copied without need", test.name)
		}
	}
}

func FuzzPortable(f *testing.F) {
	f.Add([]byte("\x92\xd6\xff\x65\x53\xf1\x00\xc0"))
	f.Add([]byte("\x81\xa1a\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := msgpack.Portable(in)
		assert.Equal(t, got, msgpack.Portable(got), "%x", in)
		_, before := msgpack.Decode(in)
		_, after := msgpack.Decode(got)
		assert.Equal(t, after == nil, before == nil, "%x (%v) became %x (%v)", in, before, got, after)
	})
}
