// Package jsonscan reads JSON from untrusted peers lazily: it checks a document once from end to end, and then reads
// only the requested parts. It reads text like JavaScript's JSON.parse, on top of jsontext: keys are compared exactly
// (encoding/json ignores their case, which would confuse "requestid" and "requestId"), the last of equal keys counts,
// and half a surrogate pair is no error.
package jsonscan

import (
	"errors"
	"math"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is the number of levels of arrays and objects that Parse accepts. It is more than a Node.js server can
// write, and less than jsontext reads.
const MaxDepth = 8192

// SyntaxError reports why text is not JSON, or not accepted.
type SyntaxError struct{ Err error }

func (e *SyntaxError) Error() string { return "json: " + e.Err.Error() }

func (e *SyntaxError) Unwrap() error { return e.Err }

var (
	errText = errors.New("not valid UTF-8")
	errDeep = errors.New("nested too deep")
)

// JSON.parse accepts what these options allow. Parse checks for invalid UTF-8 itself, because jsontext does not
// distinguish it from half a surrogate pair.
var likeJavaScript = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// Parse checks that b holds exactly one JSON value in valid UTF-8, nested no deeper than MaxDepth, and returns it. The
// value shares memory with b. The error is a *SyntaxError.
func Parse(b []byte) (Value, error) { return ParseWithin(b, MaxDepth) }

// ParseWithin is Parse with a limit of its own, up to MaxDepth levels.
func ParseWithin(b []byte, levels int) (Value, error) {
	switch {
	case !utf8.Valid(b):
		return Value{}, &SyntaxError{errText}
	case !jsontext.Value(b).IsValid(likeJavaScript...):
		_, err := jsontext.AppendFormat(nil, b, likeJavaScript...)
		return Value{}, &SyntaxError{err}
	}
	start := space(b, 0)
	end := skip(b, start, min(levels, MaxDepth))
	if end < 0 {
		return Value{}, &SyntaxError{errDeep}
	}
	return Value{b[start:end:end]}, nil
}

// AppendString appends s in quotes, escaped like JSON.stringify: only quotes, backslashes and control characters. s
// must be valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			dst, _ = jsontext.AppendQuote(dst, s)
			return dst
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// AppendFloat appends a number like JSON.stringify. NaN and infinities become null.
func AppendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return AppendNumber(dst, f)
}

// AppendNumber appends a number like JavaScript's String.
func AppendNumber(dst []byte, f float64) []byte {
	switch {
	case f == 0:
		return append(dst, '0') // -0 too
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return jsontext.AppendFloat(dst, f, 64)
}
