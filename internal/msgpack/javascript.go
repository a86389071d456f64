package msgpack

import (
	"math"
	"unicode/utf8"
	"unsafe"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// Text reads a string like JavaScript: each ill-formed sequence becomes U+FFFD. The string shares memory with the
// input unless it was changed.
func (r *Reader) Text() (string, error) {
	b, err := r.text()
	if err != nil || len(b) == 0 {
		return "", err
	}
	if !utf8.Valid(b) {
		return string(jsonscan.Valid(b)), nil
	}
	return unsafe.String(&b[0], len(b)), nil
}

// Truthy reads a value and reports whether JavaScript treats it as true in a condition.
func (r *Reader) Truthy() (bool, error) {
	switch r.Kind() {
	case Nil:
		return false, r.Nil()
	case Bool:
		return r.Bool()
	case Int, Float:
		v, err := r.Float()
		return v != 0 && !math.IsNaN(v), err
	case String:
		b, err := r.text()
		return len(b) > 0, err
	}
	undefined := r.Undefined()
	return !undefined, r.Skip()
}

// Script reads a value as the text of JavaScript's String, which is also the text of an object's key. Dates are in
// UTC. The error is a *SyntaxError, also for more than MaxDepth levels.
func (r *Reader) Script() (string, error) {
	if r.Kind() == String {
		return r.Text()
	}
	q := *r
	text, err := q.appendScript(nil, 0)
	if err != nil {
		return "", err
	}
	*r = q
	return string(text), nil
}

func (r *Reader) appendScript(dst []byte, depth int) ([]byte, error) {
	switch r.Kind() {
	case Nil:
		return append(dst, "null"...), r.Nil()
	case Bool:
		v, err := r.Bool()
		if v {
			return append(dst, "true"...), err
		}
		return append(dst, "false"...), err
	case Int, Float:
		return r.AppendNumber(dst)
	case String:
		v, err := r.text()
		return jsonscan.AppendValid(dst, v), err
	case Bytes:
		v, err := r.Bytes()
		return jsonscan.AppendValid(dst, v), err
	case Map:
		return append(dst, "[object Object]"...), r.Skip()
	case Extension:
		return r.scriptExt(dst)
	case Array:
		if depth == MaxDepth {
			return dst, r.fail("nested too deep")
		}
		n, err := r.ArrayLen()
		for i := 0; i < n && err == nil; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			if !r.TryNil() {
				dst, err = r.appendScript(dst, depth+1)
			}
		}
		return dst, err
	}
	return dst, r.Skip() // returns the cause
}

func (r *Reader) scriptExt(dst []byte) ([]byte, error) {
	e, err := r.Ext()
	if err != nil {
		return dst, err
	}
	if e.Undefined() {
		return append(dst, "undefined"...), nil
	}
	if t, ok := e.Time(); ok {
		if !ValidDate(t) {
			return append(dst, "Invalid Date"...), nil
		}
		return t.AppendFormat(dst, "Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)"), nil
	}
	if _, ok := e.ArrayBuffer(); ok {
		return append(dst, "[object ArrayBuffer]"...), nil
	}
	dst = append(jsonscan.AppendNumber(dst, float64(e.Type)), ',')
	return jsonscan.AppendValid(dst, e.Data), nil
}

// AppendNumber reads any number and appends it to dst like JavaScript's String.
func (r *Reader) AppendNumber(dst []byte) ([]byte, error) {
	v, err := r.Float()
	if err != nil {
		return dst, err
	}
	return jsonscan.AppendNumber(dst, v), nil
}

// FormatNumber returns a number like JavaScript's String.
func FormatNumber(v float64) string { return string(jsonscan.AppendNumber(nil, v)) }
