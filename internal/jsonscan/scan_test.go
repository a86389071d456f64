package jsonscan_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

var seeds = []string{
	`{"requestid":"x","type":0,"rooms":["a",42,-1.5e3,null,true,false,{}],"o":{"k":[[],[1]]}}`,
	` [ 1 , { "a" : "b" } , "\u00e9\ud83d\ude80\ud800x\n\"" ] `,
	`""`, `0`, `-0`, `1e400`, `nul`, `{"a":1,"a":2}`, `{"a"}`, `[1,]`, `{,}`, `01`, `1.`, `"\x"`, `"` + "\x01" + `"`, `"` + "\xff" + `"`, ``, ` `, `[`, `{"a":`, `]`, `1 2`,
	nested(jsonscan.MaxDepth), nested(jsonscan.MaxDepth + 1), strings.Repeat(`{"a":`, 100_000),
	`[{},[],{"x":[]},[{}]]`, `{"a":{"b":{}},"c":[{"d":1}]}`, `[}`, `{]`, `[{]}`,
}

// check compares a document with encoding/json.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestParseWithin(t *testing.T) {
	for _, limit := range []int{0, 1, 63, 64, 65, 500, jsonscan.MaxDepth} {
		_, err := jsonscan.ParseWithin([]byte(nested(limit+1)), limit)
		assert.Error(t, err, "%d levels pass a limit of %d", limit+1, limit)
		if limit == 0 {
			continue
		}
		v, err := jsonscan.ParseWithin([]byte(nested(limit)), limit)
		if assert.NoError(t, err, "%d levels", limit) {
			assert.Len(t, v.Raw(), 2*limit, "%d levels", limit)
		}
	}
	_, err := jsonscan.ParseWithin([]byte(nested(jsonscan.MaxDepth+1)), 2*jsonscan.MaxDepth)
	assert.Error(t, err, "a limit over MaxDepth is taken")
}

func check(t *testing.T, in string) {
	v, err := jsonscan.Parse([]byte(in))
	valid := json.Valid([]byte(in)) && utf8.ValidString(in)
	var syntax *jsonscan.SyntaxError
	switch {
	case err != nil && !errors.As(err, &syntax):
		t.Fatalf("%.60q: error %T", in, err)
	case err != nil && valid && err.Error() != "json: nested too deep":
		t.Fatalf("%.60q refused: %v", in, err)
	case err == nil && !valid:
		t.Fatalf("%.60q accepted", in)
	case err == nil:
		var want any
		if json.Unmarshal([]byte(in), &want) == nil { // encoding/json rejects numbers out of range
			require.Equal(t, want, toGo(v), "%.60q", in)
		}
	}
}

func toGo(v jsonscan.Value) any {
	switch v.Kind() {
	case jsonscan.Bool:
		return v.Bool()
	case jsonscan.Number:
		f, _ := v.Float()
		return f
	case jsonscan.String:
		if s := v.Text(); s != string(v.AppendText(nil)) {
			panic("Text and AppendText differ")
		}
		return v.Text()
	case jsonscan.Array:
		a := []any{}
		for e := range v.Elements() {
			a = append(a, toGo(e))
		}
		return a
	case jsonscan.Object:
		m := map[string]any{}
		for k, e := range v.Members() {
			m[k] = toGo(e)
		}
		return m
	}
	return nil
}

func TestAgainstEncodingJSON(t *testing.T) {
	for _, in := range seeds {
		check(t, in)
	}
}

func FuzzParse(f *testing.F) {
	for _, in := range seeds {
		f.Add(in)
	}
	f.Fuzz(check)
}

func TestGet(t *testing.T) {
	v, err := jsonscan.Parse([]byte(` { "requestid":1, "requestId":2, "request\u0049d":3, "n":null, "big":9007199254740993, "e":1e3 } `))
	require.NoError(t, err)
	n, ok := v.Get("requestid").Int()
	assert.EqualValues(t, 1, n)
	assert.True(t, ok)
	n, ok = v.Get("requestId").Int()
	assert.EqualValues(t, 3, n, "requestId %d %v: the last one counts", n, ok)
	assert.True(t, ok, "requestId %d %v: the last one counts", n, ok)
	n, ok = v.Get("big").Int()
	assert.EqualValues(t, 9007199254740993, n)
	assert.True(t, ok)
	_, ok = v.Get("e").Int()
	assert.False(t, ok, "1e3 as Int")
	if v.Get("REQUESTID").Kind() != jsonscan.None || !v.Get("n").Missing() || !v.Get("x").Missing() || v.Get("e").Missing() {
		t.Error("missing values")
	}
	assert.Equal(t, jsonscan.None, v.Get("n").Get("x").Kind(), "a value of another kind is not zero")
	assert.Empty(t, v.Get("big").Text(), "a value of another kind is not zero")
}

func TestAppend(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 1: "1", -1.5: "-1.5", 1e21: "1e+21", 1e-7: "1e-7", 1e-6: "0.000001", 123456789012345680000: "123456789012345680000",
		5e-324: "5e-324", math.MaxFloat64: "1.7976931348623157e+308", math.Inf(1): "null", 1.5e-10: "1.5e-10",
	} {
		assert.Equal(t, want, string(jsonscan.AppendFloat(nil, f)), "%v", f)
	}
	assert.Equal(t, "null", string(jsonscan.AppendFloat(nil, math.NaN())))
	assert.Equal(t, `x"a\"\\\b\f\n\r\t\u0000\u001f`+"\u2028<é🚀\x7f\"", string(jsonscan.AppendString([]byte("x"), "a\"\\\b\f\n\r\t\x00\x1f\u2028<é🚀\x7f")))
}

// BenchmarkParse compares Parse with encoding/json on the same text.
func BenchmarkParse(b *testing.B) {
	socket := `{"id":"abcdefghijklmnopqrst","handshake":{"headers":{"user-agent":"Mozilla/5.0 \"x\""},"issued":1700000000000,"query":{"EIO":"4"},"auth":{}},"rooms":["lobby"],"data":{"user":42}}`
	doc := []byte(`{"requestId":"abcdef","sockets":[` + strings.Repeat(socket+",", 99) + socket + `]}`)
	for name, parse := range map[string]func() bool{
		"ours": func() bool { _, err := jsonscan.Parse(doc); return err == nil },
		"json": func() bool { return json.Valid(doc) && utf8.Valid(doc) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if !parse() {
					b.Fatal("refused")
				}
			}
		})
	}
}

func TestBool(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "false": false, "null": false, "1234": false, `"t"`: false, `"tr"`: false} {
		v, err := jsonscan.Parse([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, v.Bool(), text)
	}
}
