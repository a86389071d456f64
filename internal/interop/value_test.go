package interop_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/interop"
)

func TestText(t *testing.T) {
	tests := []struct {
		value any
		text  string
	}{
		{nil, `null`},
		{args{"b": 1, "a": []any{true, "x<&>"}}, `{"a":[true,"x<&>"],"b":1}`},
		{[]byte{0, 255}, `{"$bin":"AP8="}`},
		{time.UnixMilli(-1), `{"$date":"-1"}`},
		{math.Inf(-1), `{"$float":"-Infinity"}`},
		{math.Copysign(0, -1), `{"$float":"-0"}`},
		{math.NaN(), `{"$float":"NaN"}`},
		{interop.Undefined{}, `{"$undefined":true}`},
		{args{"$other": "x"}, `{"$other":"x"}`},
		{1 << 52, `4503599627370496`},
	}
	for _, test := range tests {
		assert.Equal(t, test.text, interop.Text(test.value), "Text(%#v)", test.value)
		back, err := interop.Parse([]byte(test.text))
		if assert.NoError(t, err, "Parse(%s) = %#v, %v", test.text, back, err) {
			assert.Equal(t, test.text, interop.Text(back), "Parse(%s) = %#v, %v", test.text, back, err)
		}
	}
	assert.Equal(t, interop.Text(1.0), interop.Text(1), "a number and its text are the same, or 1 and 1.0 are not")
	assert.NotEqual(t, interop.Text("1"), interop.Text(1), "a number and its text are the same, or 1 and 1.0 are not")
}
