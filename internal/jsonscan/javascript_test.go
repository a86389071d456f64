package jsonscan_test

import (
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// The same results as Node.js's Buffer.toString; package adapter has the recording.
func TestValid(t *testing.T) {
	const bad = "\ufffd"
	for in, want := range map[string]string{
		"": "", "abc": "abc", "é😀": "é😀", "\x80": bad, "\xff\xfe": bad + bad, "\xc0\x80": bad + bad, "\xc2": bad, "\xc2a": bad + "a",
		"\xe0\x80\x80": bad + bad + bad, "\xe0\xa0": bad, "\xe0\xa0a": bad + "a", "\xe1\x80\xff": bad + bad, "\xed\xa0\x80": bad + bad + bad, "\xed\x9f": bad, "\xef\xbf": bad,
		"\xf0\x80\x80\x80": bad + bad + bad + bad, "\xf0\x90": bad, "\xf0\x90\x80": bad, "\xf0\x90\x80a": bad + "a", "\xf1\x80\x80\xf1": bad + bad, "\xf4\x90\x80\x80": bad + bad + bad + bad,
		"\xf4\x8f\xbf": bad, "\xf5\x80": bad + bad, "a\x80b": "a" + bad + "b", "\xe2\x82\xe2\x82\xac": bad + "€",
	} {
		assert.Equal(t, want, string(jsonscan.Valid([]byte(in))), "%x", in)
		assert.Equal(t, "x"+want, string(jsonscan.AppendValid([]byte("x"), []byte(in))), "%x: appended", in)
	}
}

func FuzzValid(f *testing.F) {
	f.Add([]byte("\xf0\x90\x80a\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := jsonscan.Valid(in)
		if !utf8.Valid(got) || utf8.RuneCount(got) > utf8.RuneCount(in) || utf8.Valid(in) && string(got) != string(in) {
			t.Errorf("%x became %x", in, got)
		}
	})
}

func TestScript(t *testing.T) {
	for in, want := range map[string]struct {
		text   string
		truthy bool
	}{
		`null`: {"null", false}, `true`: {"true", true}, `false`: {"false", false}, `0`: {"0", false}, `-0.0`: {"0", false}, `1e2`: {"100", true}, `-1.5`: {"-1.5", true}, `1e400`: {"Infinity", true}, `-1e400`: {"-Infinity", true},
		`18446744073709551615`: {"18446744073709552000", true}, `""`: {"", false}, `"a\n"`: {"a\n", true}, `[]`: {"", true}, `[1,[null,"a"],{}]`: {"1,,a,[object Object]", true}, `{}`: {"[object Object]", true},
	} {
		v, err := jsonscan.Parse([]byte(in))
		require.NoError(t, err)
		got := string(v.AppendScript(nil))
		assert.Equal(t, want.text, got, in)
		assert.Equal(t, want.truthy, v.Truthy(), in)
	}
	var none jsonscan.Value
	if string(none.AppendScript(nil)) != "undefined" || none.Truthy() || none.Is(0) {
		t.Error("the zero Value is undefined")
	}
	for in, is := range map[string]bool{`5`: true, `5.0`: true, `50e-1`: true, `"5"`: false, `[5]`: false, `5.5`: false, `null`: false} {
		v, _ := jsonscan.Parse([]byte(in))
		assert.Equal(t, is, v.Is(5), "%s is 5: %v", in, !is)
	}
	assert.Equal(t, "NaN", string(jsonscan.AppendNumber(nil, math.NaN())))
}
