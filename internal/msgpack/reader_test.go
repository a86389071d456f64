package msgpack_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/msgpack"
)

func TestAppendThenRead(t *testing.T) {
	ints := []int64{0, 1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64,
		-1, -32, -33, -128, -129, -32768, -32769, math.MinInt32, math.MinInt32 - 1, math.MinInt64}
	for _, v := range ints {
		r := msgpack.NewReader(msgpack.AppendInt(nil, v))
		got, err := r.Int()
		if assert.NoError(t, err, "int %d", v) {
			assert.Equal(t, v, got, "int %d", v)
			assert.Zero(t, r.Len(), "int %d", v)
		}
		r = msgpack.NewReader(msgpack.AppendInt(nil, v))
		float, err := r.Float()
		if assert.NoError(t, err, "int %d as float", v) {
			assert.Equal(t, float64(v), float, "int %d as float", v)
		}
	}
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		r := msgpack.NewReader(msgpack.AppendString(nil, s))
		got, err := r.String()
		if assert.NoError(t, err, "string of %d", n) {
			assert.Equal(t, s, got, "string of %d", n)
			assert.Zero(t, r.Len(), "string of %d", n)
		}
		r = msgpack.NewReader(msgpack.AppendBytes(nil, []byte(s)))
		raw, err := r.Bytes()
		if assert.NoError(t, err, "%d bytes", n) {
			assert.Equal(t, s, string(raw), "%d bytes", n)
			assert.Zero(t, r.Len(), "%d bytes", n)
		}
		b := msgpack.AppendArrayLen(nil, n)
		r = msgpack.NewReader(append(b, make([]byte, n)...))
		length, err := r.ArrayLen()
		if assert.NoError(t, err, "array of %d", n) {
			assert.Equal(t, n, length, "array")
		}
		b = msgpack.AppendMapLen(nil, n)
		r = msgpack.NewReader(append(b, make([]byte, 2*n)...))
		length, err = r.MapLen()
		if assert.NoError(t, err, "map of %d", n) {
			assert.Equal(t, n, length, "map")
		}
		data := bytes.Repeat([]byte{7}, n)
		r = msgpack.NewReader(msgpack.AppendExt(nil, msgpack.Ext{Type: 5, Data: data}))
		e, err := r.Ext()
		if assert.NoError(t, err, "extension of %d", n) {
			assert.EqualValues(t, 5, e.Type, "extension of %d", n)
			assert.True(t, bytes.Equal(data, e.Data), "extension of %d", n)
			assert.Zero(t, r.Len(), "extension of %d", n)
		}
	}
	r := msgpack.NewReader(msgpack.AppendUint(nil, math.MaxUint64))
	_, err := r.Int()
	assert.Error(t, err, "2^64-1 read as int64")
	v, err := r.Uint()
	require.NoError(t, err)
	assert.Equal(t, uint64(math.MaxUint64), v, "2^64-1")
}

func TestAppendNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "\x00"}, {math.Copysign(0, -1), "\x00"}, {1, "\x01"}, {-1, "\xff"},
		{1 << 53, "\xcf\x00\x20\x00\x00\x00\x00\x00\x00"},
		{-(1 << 63), "\xd3\x80\x00\x00\x00\x00\x00\x00\x00"},
		{1 << 63, "\xcf\x80\x00\x00\x00\x00\x00\x00\x00"},
		{1 << 64, "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"},
		{1.5, "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"},
		{math.Inf(-1), "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"},
	} {
		assert.Equal(t, c.want, string(msgpack.AppendNumber(nil, c.v)), "%v", c.v)
	}
}

func TestExtensions(t *testing.T) {
	date := time.UnixMilli(1700000000123).UTC()
	whole := time.Unix(1700000000, 0).UTC()
	for _, c := range []struct {
		name, in    string
		time        time.Time
		undefined   bool
		arrayBuffer string
	}{
		{name: "date of notepack 2", in: string(msgpack.AppendTime(nil, date)), time: date},
		{name: "timestamp 32", in: "\xd6\xff\x65\x53\xf1\x00", time: whole},
		{name: "timestamp 64", in: "\xd7\xff\x1d\x53\x53\x00\x65\x53\xf1\x00", time: date},
		{name: "timestamp 96", in: "\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x65\x53\xf1\x00", time: whole},
		{name: "undefined", in: "\xd4\x00\x00", undefined: true},
		{name: "array buffer of 1", in: "\xc7\x01\x00\x2a", arrayBuffer: "\x2a"},
		{name: "array buffer of 8", in: "\xc7\x08\x00abcdefgh", arrayBuffer: "abcdefgh"},
		{name: "array buffer of 3, 16-bit length", in: "\xc8\x00\x03\x00abc", arrayBuffer: "abc"},
		{name: "fixed 2", in: "\xd5\x00ab", arrayBuffer: "ab"},
		{name: "foreign type", in: "\xd4\x05\x01"},
		{name: "bad nanoseconds", in: "\xd7\xff\xff\xff\xff\xff\x65\x53\xf1\x00"},
		{name: "timestamp of 1 byte", in: "\xd4\xff\x00"},
	} {
		r := msgpack.NewReader([]byte(c.in))
		e, err := r.Ext()
		if assert.NoError(t, err, c.name) {
			assert.Zero(t, r.Len(), c.name)
		}
		got, ok := e.Time()
		assert.NotEqual(t, c.time.IsZero(), ok, "%s: time %v", c.name, got)
		assert.True(t, got.Equal(c.time), "%s: time %v", c.name, got)
		assert.Equal(t, c.undefined, e.Undefined(), "%s: undefined", c.name)
		if got, ok := e.ArrayBuffer(); ok != (c.arrayBuffer != "") || string(got) != c.arrayBuffer {
			t.Errorf("%s: array buffer %x %v", c.name, got, ok)
		}
		if again := msgpack.AppendExt(nil, e); c.in[0] != '\xc8' && string(again) != c.in {
			t.Errorf("%s: written as %x", c.name, again)
		}
	}
}

// Every method must refuse input that is truncated or of another kind, without moving the reader.
func TestReaderRefuses(t *testing.T) {
	methods := map[string]func(*msgpack.Reader) error{
		"Nil":      func(r *msgpack.Reader) error { return r.Nil() },
		"Bool":     func(r *msgpack.Reader) error { _, err := r.Bool(); return err },
		"Int":      func(r *msgpack.Reader) error { _, err := r.Int(); return err },
		"Uint":     func(r *msgpack.Reader) error { _, err := r.Uint(); return err },
		"Float":    func(r *msgpack.Reader) error { _, err := r.Float(); return err },
		"String":   func(r *msgpack.Reader) error { _, err := r.String(); return err },
		"Bytes":    func(r *msgpack.Reader) error { _, err := r.Bytes(); return err },
		"ArrayLen": func(r *msgpack.Reader) error { _, err := r.ArrayLen(); return err },
		"MapLen":   func(r *msgpack.Reader) error { _, err := r.MapLen(); return err },
		"Ext":      func(r *msgpack.Reader) error { _, err := r.Ext(); return err },
		"Skip":     func(r *msgpack.Reader) error { return r.Skip() },
		"Raw":      func(r *msgpack.Reader) error { _, err := r.Raw(); return err },
	}
	// No method reads these.
	bad := []string{
		"", "\xc1", "\xcc", "\xcd\x00", "\xce\x00\x00\x00", "\xcf\x00", "\xd0", "\xd3\x00", "\xca\x00\x00\x00", "\xcb\x00",
		"\xa1", "\xd9", "\xd9\x01", "\xda\xff\xff", "\xdb\xff\xff\xff\xff", "\xdb\xff\xff\xff", "\xc4\x01", "\xc5\x00", "\xc6\xff\xff\xff\xff",
		"\x91", "\xdc\x00", "\xdc\x00\x01", "\xdd\xff\xff\xff\xff\x00", "\x81\x01", "\xde\x00\x01\x00", "\xdf\xff\xff\xff\xff\x00\x00",
		"\xd4\x00", "\xd8\x00", "\xc7\x02\x00\x00", "\xc8", "\xc9\xff\xff\xff\xff\x00",
	}
	for name, read := range methods {
		for _, in := range bad {
			r := msgpack.NewReader([]byte(in))
			err := read(&r)
			var syntax *msgpack.SyntaxError
			if assert.ErrorAs(t, err, &syntax, "%s of %x: error", name, in) {
				assert.Zero(t, r.Offset(), "%s of %x: error", name, in)
			}
		}
	}
	// One good value of each kind: only the listed methods read it.
	for in, readable := range map[string]string{
		"\xc0":                 "Nil Skip Raw",
		"\xc3":                 "Bool Skip Raw",
		"\x05":                 "Int Uint Float Skip Raw",
		"\xff":                 "Int Float Skip Raw",
		"\xca\x00\x00\x00\x00": "Float Skip Raw",
		"\xa1a":                "String Skip Raw",
		"\xa1\xff":             "Skip Raw", // invalid UTF-8
		"\xc4\x01a":            "Bytes Skip Raw",
		"\x91\x00":             "ArrayLen Skip Raw",
		"\x81\x00\x00":         "MapLen Skip Raw",
		"\xd4\x05\x00":         "Ext Skip Raw",
	} {
		for name, read := range methods {
			r := msgpack.NewReader([]byte(in))
			err := read(&r)
			if want := strings.Contains(" "+readable+" ", " "+name+" "); (err == nil) != want {
				t.Errorf("%s of %x: %v", name, in, err)
			} else if err != nil && r.Offset() != 0 {
				t.Errorf("%s of %x failed and moved to %d", name, in, r.Offset())
			}
		}
	}
}

func TestSkipDeepAndLying(t *testing.T) {
	const depth = 100_000
	deep := append(bytes.Repeat([]byte{0x91}, depth), 0xc0)
	r := msgpack.NewReader(deep)
	raw, err := r.Raw()
	require.NoError(t, err)
	assert.Len(t, raw, depth+1, "nesting")
	r = msgpack.NewReader(deep[:depth])
	assert.Error(t, r.Skip(), "unfinished nesting skipped")
	// Each array alone fits, all together do not.
	lies := bytes.Repeat([]byte{0xdc, 0x00, 0xff}, 200)
	r = msgpack.NewReader(lies)
	err = r.Skip()
	assert.Error(t, err)
	assert.Zero(t, r.Offset(), "lies")
}

func TestReaderAllocatesNothing(t *testing.T) {
	in := msgpack.AppendArrayLen(nil, 4)
	in = msgpack.AppendString(in, "hello")
	in = msgpack.AppendInt(in, -5)
	in = msgpack.AppendBytes(in, []byte("world"))
	in = msgpack.AppendTime(in, time.Unix(1, 0))
	allocs := testing.AllocsPerRun(100, func() {
		r := msgpack.NewReader(in)
		n, _ := r.ArrayLen()
		s, _ := r.String()
		i, _ := r.Int()
		b, _ := r.Raw()
		e, _ := r.Ext()
		tm, _ := e.Time()
		if n != 4 || s != "hello" || i != -5 || len(b) != 7 || tm.Unix() != 1 || r.End() != nil {
			t.Error("misread")
		}
	})
	assert.Zero(t, allocs, "allocations")
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x93\xa1a\x82\xa1b\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xa1c\xc0\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := msgpack.NewReader(in)
		for r.Kind() != msgpack.Invalid {
			before := r
			raw, err := r.Raw()
			if err != nil {
				require.Equal(t, before.Offset(), r.Offset(), "moved on error")
				break
			}
			require.NotEmpty(t, raw)
			require.Len(t, raw, r.Offset()-before.Offset())
			again := msgpack.NewReader(raw)
			require.NoError(t, again.Skip())
			require.NoError(t, again.End())
		}
	})
}

func TestTryNil(t *testing.T) {
	for in, want := range map[string]bool{"\xc0": true, "\xd4\x00\x07": true, "\xd4\x05\x00": false, "\xd4\x00": false, "\x00": false, "": false} {
		r := msgpack.NewReader([]byte(in))
		if got := r.TryNil(); got != want || want && r.Len() != 0 || !want && r.Offset() != 0 {
			t.Errorf("%x: %v at %d", in, got, r.Offset())
		}
	}
}

func TestFormatNumber(t *testing.T) {
	for v, want := range map[float64]string{math.Inf(1): "Infinity", math.Inf(-1): "-Infinity", 1e21: "1e+21", 0.5: "0.5", 42: "42"} {
		assert.Equal(t, want, msgpack.FormatNumber(v), "%v", v)
	}
	assert.Equal(t, "NaN", msgpack.FormatNumber(math.NaN()))
}

func TestKindAndErrorText(t *testing.T) {
	r := msgpack.NewReader([]byte("\x01\xa1a"))
	require.NoError(t, r.Skip())
	if _, err := r.MapLen(); err == nil || err.Error() != "msgpack: string where map was expected at offset 1" {
		t.Error(err)
	}
	for b, reason := range map[string]string{"": "unexpected end", "\xc1": "invalid header byte"} {
		r := msgpack.NewReader([]byte(b))
		_, err := r.MapLen()
		assert.EqualError(t, err, "msgpack: "+reason+" at offset 0")
	}
	assert.Equal(t, "extension", msgpack.Extension.String(), "names of kinds")
	assert.Equal(t, "kind(99)", msgpack.Kind(99).String(), "names of kinds")
	_, _, err := msgpack.AppendValue(nil, func() {})
	assert.EqualError(t, err, "msgpack: cannot encode func(): no such type on the wire")
}
