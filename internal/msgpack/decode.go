package msgpack

import (
	"math"
	"strings"
)

// Decode returns the one value that b holds as a Go value:
//
//	nil, JavaScript's undefined   nil
//	bool                          bool
//	integer                       int64, or uint64 above its range
//	float                         float64
//	string                        string
//	binary data, ArrayBuffer      []byte
//	date                          time.Time in UTC
//	other extension               Ext
//	array                         []any
//	map                           map[string]any; other keys become strings as in
//	                              JavaScript, and of equal keys the last one counts
//
// In text that is not UTF-8, U+FFFD stands for each ill-formed sequence. Nothing in the
// result shares memory with b. The error is a *SyntaxError.
func Decode(b []byte) (any, error) {
	// For a sound input, the sum of its lengths is at most len(b), and so is the memory allocated for them.
	r := NewReader(b)
	if err := r.Skip(); err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	r.off = 0
	v, err := r.decode(0)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (r *Reader) decode(depth int) (any, error) {
	switch r.Kind() {
	case Nil:
		return nil, r.Nil()
	case Bool:
		return r.Bool()
	case Int:
		v, neg, _ := r.integer()
		if !neg && v > math.MaxInt64 {
			return v, nil
		}
		return int64(v), nil
	case Float:
		return r.Float()
	case String:
		s, err := r.Text()
		return strings.Clone(s), err
	case Bytes:
		v, err := r.Bytes()
		return append(make([]byte, 0, len(v)), v...), err
	case Extension:
		return r.decodeExt()
	}
	if depth == MaxDepth {
		return nil, r.fail("nested too deep")
	}
	if r.Kind() == Array {
		return r.decodeArray(depth)
	}
	return r.decodeMap(depth)
}

func (r *Reader) decodeArray(depth int) (any, error) {
	n, err := r.ArrayLen()
	if err != nil {
		return nil, err
	}
	a := make([]any, n)
	for i := range a {
		if a[i], err = r.decode(depth + 1); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (r *Reader) decodeMap(depth int) (any, error) {
	n, err := r.MapLen()
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, n)
	for range n {
		k, err := r.Script()
		if err != nil {
			return nil, err
		}
		v, err := r.decode(depth + 1)
		if err != nil {
			return nil, err
		}
		m[strings.Clone(k)] = v
	}
	return m, nil
}

func (r *Reader) decodeExt() (any, error) {
	e, err := r.Ext()
	if err != nil || e.Undefined() {
		return nil, err
	}
	if t, ok := e.Time(); ok {
		return t, nil
	}
	e.Data = append(make([]byte, 0, len(e.Data)), e.Data...)
	if data, ok := e.ArrayBuffer(); ok {
		return data, nil
	}
	return e, nil
}
