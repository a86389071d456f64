package msgpack

import "unicode/utf8"

// Check tells whether b holds exactly one value that every reader accepts: complete,
// with all text valid UTF-8, and nested no deeper than MaxDepth, the depth levels
// included that it will stand in. Node.js processes end when they read anything else.
// The error is a *SyntaxError.
func Check(b []byte, depth int) error {
	r := NewReader(b)
	if err := r.check(depth); err != nil {
		return err
	}
	return r.End()
}

func (r *Reader) check(depth int) error {
	switch r.Kind() {
	case String:
		start := r.off
		s, err := r.text()
		if err == nil && !utf8.Valid(s) {
			r.off = start
			err = r.fail(badText)
		}
		return err
	case Array, Map:
		if depth >= MaxDepth {
			return r.fail("nested too deep")
		}
	}
	n, err := r.skipOne()
	for ; n > 0 && err == nil; n-- {
		err = r.check(depth + 1)
	}
	return err
}

// HasBinary reports whether the one value that raw holds has binary data in it, at
// any depth. It is false for what is malformed before any.
func HasBinary(raw []byte) bool {
	r := NewReader(raw)
	for owed := 1; owed > 0; owed-- {
		switch r.Kind() {
		case Bytes:
			return r.Skip() == nil
		case Extension:
			if e, err := r.Ext(); err != nil {
				return false
			} else if _, ok := e.ArrayBuffer(); ok {
				return true
			}
		default:
			n, err := r.skipOne()
			if owed += n; err != nil || owed-1 > r.Len() {
				return false
			}
		}
	}
	return false
}
