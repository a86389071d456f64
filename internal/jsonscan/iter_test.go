package jsonscan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// TestSpace: all white space of JSON may stand between values.
func TestSpace(t *testing.T) {
	for _, s := range []string{"", " ", "\n", "\t", "\r", "\r\n\t "} {
		doc := s + "[" + s + "1" + s + "," + s + "{" + s + `"a"` + s + ":" + s + "2" + s + "," + s + `"b"` + s + ":" + s + "3" + s + "}" + s + "]" + s
		check(t, doc)
		v, err := jsonscan.Parse([]byte(doc))
		require.NoError(t, err, "%q", doc)
		var raw []string
		for e := range v.Elements() {
			raw = append(raw, string(e.Raw()))
			for k, m := range e.Members() {
				raw = append(raw, k, string(m.Raw()))
			}
		}
		assert.Equal(t, []string{"1", "{" + s + `"a"` + s + ":" + s + "2" + s + "," + s + `"b"` + s + ":" + s + "3" + s + "}", "a", "2", "b", "3"}, raw, "%q", doc)
	}
}

// TestBreak: a loop over a value can end before it has seen all.
func TestBreak(t *testing.T) {
	v, err := jsonscan.Parse([]byte(`[{"a":1,"b":2},"x",3]`))
	require.NoError(t, err)
	n := 0
	for e := range v.Elements() {
		for k := range e.Members() {
			assert.Equal(t, "a", k)
			n++
			break
		}
		n++
		break
	}
	assert.Equal(t, 2, n)
	for stop := range 8 {
		n := 0
		for range v.Tokens() {
			if n == stop {
				break
			}
			n++
		}
		assert.Equal(t, stop, n, "tokens")
	}
}

func TestAppendText(t *testing.T) {
	v, err := jsonscan.Parse([]byte(`["a\u00e9\n",12,null,["x"]]`))
	require.NoError(t, err)
	var all []string
	for e := range v.Elements() {
		all = append(all, string(e.AppendText([]byte(">"))))
	}
	assert.Equal(t, []string{">aé\n", ">", ">", ">"}, all, "only strings have a text")
}
