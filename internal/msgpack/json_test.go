package msgpack_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
)

func TestAppendJSON(t *testing.T) {
	date := func(ms int64) string { return string(msgpack.AppendTime(nil, time.UnixMilli(ms))) }
	for _, c := range []struct{ in, want string }{
		{"\xc0", `null`}, {"\xc3", `true`}, {"\xd1\x80\x00", `-32768`}, {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", `18446744073709551615`},
		{"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", `null`}, {"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", `null`}, {"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", `0`},
		{"\xcb\x44\xb5\x2d\x02\xc7\xe1\x4a\xf6", `1e+23`}, {"\xa4a\"\n\x01", `"a\"\n\u0001"`},
		{date(0), `"1970-01-01T00:00:00.000Z"`}, {date(-1), `"1969-12-31T23:59:59.999Z"`}, {date(1700000000123), `"2023-11-14T22:13:20.123Z"`},
		{date(8_640_000_000_000_000), `"+275760-09-13T00:00:00.000Z"`}, {date(-8_640_000_000_000_000), `"-271821-04-20T00:00:00.000Z"`},
		{date(-62_198_755_200_000), `"-000001-01-01T00:00:00.000Z"`}, {date(-62_135_596_800_000), `"0001-01-01T00:00:00.000Z"`},
		{date(8_640_000_000_000_001), `null`}, {date(-1 << 63), `null`}, {date(1<<63 - 1), `null`},
		{"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", `null`}, {"\xc7\x0c\xff\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00", `null`},
		{"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff", `"1969-12-31T23:59:59.999Z"`},
		{"\xd4\x00\x00", `null`}, {"\x92\xd4\x00\x00\x01", `[null,1]`}, {"\x83\xa1u\xd4\x00\x00\xa1v\x01\xa1w\xd4\x00\x00", `{"v":1}`}, {"\x82\xa1u\xd4\x00\x00\xa1v\xc0", `{"v":null}`},
		{"\x82\xa1b\x01\xa1a\x02", `{"b":1,"a":2}`}, {"\x83\x01\x01\xc2\x02\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x03", `{"1":1,"false":2,"NaN":3}`},
		{"\xc4\x02\x00\xff", `{"type":"Buffer","data":[0,255]}`}, {"\xc7\x01\x00\x07", `{"type":"Buffer","data":[7]}`},
		{"\xd4\x05\x09", `[5,{"type":"Buffer","data":[9]}]`}, {"\xd4\xff\x09", `[-1,{"type":"Buffer","data":[9]}]`},
	} {
		got, err := msgpack.AppendJSON([]byte("x"), []byte(c.in), nil)
		if assert.NoError(t, err, "%x", c.in) {
			assert.Equal(t, "x"+c.want, string(got), "%x", c.in)
		}
	}
	var attached []string
	got, err := msgpack.AppendJSON(nil, []byte("\x94\xc4\x01a\x81\xa1k\xc7\x01\x00b\xd4\x05c\x01"), func(b []byte) int {
		attached = append(attached, string(b))
		return len(attached) - 1
	})
	want := `[{"_placeholder":true,"num":0},{"k":{"_placeholder":true,"num":1}},[5,{"_placeholder":true,"num":2}],1]`
	require.NoError(t, err, "%s %v %v", got, attached, err)
	assert.Equal(t, want, string(got), "%s %v %v", got, attached, err)
	assert.Equal(t, "abc", strings.Join(attached, ""), "%s %v %v", got, attached, err)
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`null`, "\xc0"}, {` true `, "\xc3"}, {`1`, "\x01"}, {`1.0`, "\x01"}, {`-0`, "\x00"}, {`-0.0`, "\x00"}, {`1e2`, "\x64"},
		{`9007199254740993`, "\xcf\x00\x20\x00\x00\x00\x00\x00\x01"}, {`18446744073709551615`, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		{`1e400`, "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"}, {`1e300`, "\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"},
		{`"a\u00e9\ud800"`, "\xa6a\xc3\xa9\xef\xbf\xbd"}, {`{"b":1,"a":[],"b":{}}`, "\x83\xa1b\x01\xa1a\x90\xa1b\x80"},
		{`[` + strings.Repeat(`0,`, 15) + `[1]]`, "\xdc\x00\x10" + strings.Repeat("\x00", 15) + "\x91\x01"},
	} {
		got, err := msgpack.FromJSON([]byte("x"), []byte(c.in))
		if assert.NoError(t, err, c.in) {
			assert.Equal(t, "x"+c.want, string(got), c.in)
		}
	}
	for _, n := range []int{15, 16, 65535, 65536} {
		array := "[" + strings.Repeat("1,", n-1) + "1]"
		object := "{" + strings.Repeat(`"":1,`, n-1) + `"":1}`
		for _, in := range []string{array, object, "[" + array + "," + object + "]"} {
			b, err := msgpack.FromJSON(nil, []byte(in))
			require.NoError(t, err)
			got, err := msgpack.AppendJSON(nil, b, nil)
			if assert.NoError(t, err, "%d in %.10s: not the same again", n, in) {
				assert.Equal(t, in, string(got), "%d in %.10s: not the same again", n, in)
			}
		}
	}
	for _, in := range []string{``, `{`, `[1,]`, `1 2`, `"` + "\xff" + `"`, strings.Repeat("[", 100_000), strings.Repeat("[", 513) + strings.Repeat("]", 513)} {
		out, err := msgpack.FromJSON([]byte("kept"), []byte(in))
		var syntax *jsonscan.SyntaxError
		if assert.ErrorAs(t, err, &syntax, "%.20q", in) {
			assert.Equal(t, "kept", string(out), "%.20q", in)
		}
	}
}

// vectors returns the payloads captured from real packages, MessagePack and JSON.
func vectors(tb testing.TB) (packed, text [][]byte) {
	b, err := os.ReadFile("../../adapter/internal/socketio/testdata/vectors.json")
	require.NoError(tb, err)
	var all []struct {
		Kind    string `json:"payload_kind"`
		Payload string `json:"payload_base64"`
	}
	require.NoError(tb, json.Unmarshal(b, &all))
	for _, v := range all {
		p, err := base64.StdEncoding.DecodeString(v.Payload)
		require.NoError(tb, err)
		if v.Kind == "json" {
			text = append(text, p)
		} else {
			packed = append(packed, p)
		}
	}
	return packed, text
}

// JSON that Node wrote is restored byte for byte: same order, numbers and escapes.
func TestCapturedJSONRoundTrip(t *testing.T) {
	_, text := vectors(t)
	for _, in := range text {
		b, err := msgpack.FromJSON(nil, in)
		require.NoError(t, err, "%s", in)
		got, err := msgpack.AppendJSON(nil, b, nil)
		if assert.NoError(t, err) {
			assert.Equal(t, in, got)
		}
	}
	assert.GreaterOrEqual(t, len(text), 100, "vectors")
}

func FuzzDecode(f *testing.F) {
	packed, _ := vectors(f)
	for _, in := range packed {
		f.Add(in)
	}
	f.Add([]byte("\x82\x91\xc0\xa1\xff\xd4\x05a\xc7\x01\x00a"))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := msgpack.Decode(in)
		attached := false
		_, jsonErr := msgpack.AppendJSON(nil, in, func([]byte) int { attached = true; return 0 })
		traits, checkErr := msgpack.Check(in, 0)
		if jsonErr == nil && checkErr == nil && traits&msgpack.HasBinary == 0 && attached {
			t.Fatal("binary data that was not noticed")
		}
		if checkErr == nil {
			again, err := msgpack.Check(msgpack.Portable(in), 0)
			require.NoError(t, err, "portable form %x", msgpack.Portable(in))
			require.Equal(t, traits&msgpack.HasBinary, again&msgpack.HasBinary, "portable form %x", msgpack.Portable(in))
		}
		text, jsonErr := msgpack.AppendJSON(nil, in, nil)
		if jsonErr == nil && !json.Valid(text) {
			t.Fatalf("%x became invalid JSON %s", in, text)
		}
		require.Equal(t, jsonErr == nil, err == nil, "Decode: %v, AppendJSON: %v", err, jsonErr)
		if err != nil {
			return
		}
		again, _, err := msgpack.AppendValue(nil, v)
		var refused *msgpack.ValueError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Type, "time.") {
			return // a date that JavaScript does not have
		}
		require.NoError(t, err, "the decoded value does not encode")
		_, err = msgpack.Decode(again)
		require.NoError(t, err, "the encoded value does not decode")
	})
}

func FuzzFromJSON(f *testing.F) {
	_, text := vectors(f)
	for _, in := range text {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := msgpack.FromJSON(nil, in)
		if err != nil {
			return
		}
		once, err := msgpack.AppendJSON(nil, b, nil)
		require.NoError(t, err, "%s became %x", in, b)
		b2, err := msgpack.FromJSON(nil, once)
		require.NoError(t, err)
		twice, err := msgpack.AppendJSON(nil, b2, nil)
		require.NoError(t, err)
		require.Equal(t, twice, once)
	})
}
