package msgpack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

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
		if got, err := msgpack.AppendJSON([]byte("x"), []byte(c.in), nil); err != nil || string(got) != "x"+c.want {
			t.Errorf("%x: %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	var attached []string
	got, err := msgpack.AppendJSON(nil, []byte("\x94\xc4\x01a\x81\xa1k\xc7\x01\x00b\xd4\x05c\x01"), func(b []byte) int {
		attached = append(attached, string(b))
		return len(attached) - 1
	})
	want := `[{"_placeholder":true,"num":0},{"k":{"_placeholder":true,"num":1}},[5,{"_placeholder":true,"num":2}],1]`
	if err != nil || string(got) != want || strings.Join(attached, "") != "abc" {
		t.Errorf("%s %v %v", got, attached, err)
	}
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`null`, "\xc0"}, {` true `, "\xc3"}, {`1`, "\x01"}, {`1.0`, "\x01"}, {`-0`, "\x00"}, {`-0.0`, "\x00"}, {`1e2`, "\x64"},
		{`9007199254740993`, "\xcf\x00\x20\x00\x00\x00\x00\x00\x01"}, {`18446744073709551615`, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		{`1e400`, "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"}, {`1e300`, "\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"},
		{`"a\u00e9\ud800"`, "\xa6a\xc3\xa9\xef\xbf\xbd"}, {`{"b":1,"a":[],"b":{}}`, "\x83\xa1b\x01\xa1a\x90\xa1b\x80"},
		{`[` + strings.Repeat(`0,`, 15) + `[1]]`, "\xdc\x00\x10" + strings.Repeat("\x00", 15) + "\x91\x01"},
	} {
		if got, err := msgpack.FromJSON([]byte("x"), []byte(c.in)); err != nil || string(got) != "x"+c.want {
			t.Errorf("%s: %x, %v; want %x", c.in, got, err, c.want)
		}
	}
	for _, n := range []int{15, 16, 65535, 65536} {
		array := "[" + strings.Repeat("1,", n-1) + "1]"
		object := "{" + strings.Repeat(`"":1,`, n-1) + `"":1}`
		for _, in := range []string{array, object, "[" + array + "," + object + "]"} {
			b, err := msgpack.FromJSON(nil, []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := msgpack.AppendJSON(nil, b, nil); err != nil || string(got) != in {
				t.Errorf("%d in %.10s: not the same again, %v", n, in, err)
			}
		}
	}
	for _, in := range []string{``, `{`, `[1,]`, `1 2`, `"` + "\xff" + `"`, strings.Repeat("[", 100_000), strings.Repeat("[", 513) + strings.Repeat("]", 513)} {
		out, err := msgpack.FromJSON([]byte("kept"), []byte(in))
		var syntax *jsonscan.SyntaxError
		if !errors.As(err, &syntax) || string(out) != "kept" {
			t.Errorf("%.20q: %q, %v", in, out, err)
		}
	}
}

// vectors returns the payloads captured from real packages, MessagePack and JSON.
func vectors(tb testing.TB) (packed, text [][]byte) {
	b, err := os.ReadFile("../../adapter/internal/socketio/testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []struct {
		Kind    string `json:"payload_kind"`
		Payload string `json:"payload_base64"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		tb.Fatal(err)
	}
	for _, v := range all {
		p, err := base64.StdEncoding.DecodeString(v.Payload)
		if err != nil {
			tb.Fatal(err)
		}
		if v.Kind == "json" {
			text = append(text, p)
		} else {
			packed = append(packed, p)
		}
	}
	return packed, text
}

// What Node wrote as JSON comes back byte for byte: same order, numbers and escapes.
func TestCapturedJSONRoundTrip(t *testing.T) {
	_, text := vectors(t)
	for _, in := range text {
		b, err := msgpack.FromJSON(nil, in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if got, err := msgpack.AppendJSON(nil, b, nil); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%s\nbecame %s, %v", in, got, err)
		}
	}
	if len(text) < 100 {
		t.Errorf("only %d vectors", len(text))
	}
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
			if err != nil || again&msgpack.HasBinary != traits&msgpack.HasBinary {
				t.Fatalf("portable form %x: %v", msgpack.Portable(in), err)
			}
		}
		text, jsonErr := msgpack.AppendJSON(nil, in, nil)
		if jsonErr == nil && !json.Valid(text) {
			t.Fatalf("%x became invalid JSON %s", in, text)
		}
		if (err == nil) != (jsonErr == nil) {
			t.Fatalf("Decode: %v, AppendJSON: %v", err, jsonErr)
		}
		if err != nil {
			return
		}
		again, _, err := msgpack.AppendValue(nil, v)
		var refused *msgpack.ValueError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Type, "time.") {
			return // a date that JavaScript does not have
		}
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if _, err := msgpack.Decode(again); err != nil {
			t.Fatalf("what was encoded does not decode: %v", err)
		}
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
		if err != nil {
			t.Fatalf("%s became %x: %v", in, b, err)
		}
		b2, err := msgpack.FromJSON(nil, once)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := msgpack.AppendJSON(nil, b2, nil)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s, then %s, %v", once, twice, err)
		}
	})
}
