package msgpack

import "unicode/utf8"

// Traits is what Check notices in a value, at any depth.
type Traits uint8

const (
	// HasBinary: binary data, an ArrayBuffer, or an extension value that JavaScript
	// reads as type and binary data. It is noticed in keys, too.
	HasBinary Traits = 1 << iota
	// HasTimestamp: a date of extension type -1, which notepack.io 2 does not read as
	// a date. See Portable.
	HasTimestamp
)

// Check tells whether b holds exactly one value that every reader accepts: complete,
// with all text valid UTF-8, and nested no deeper than MaxDepth, the depth levels
// included that it will stand in. Node.js processes end when they read anything else.
// The error is a *SyntaxError.
func Check(b []byte, depth int) (Traits, error) {
	r := NewReader(b)
	var t Traits
	if err := r.check(depth, &t); err != nil {
		return 0, err
	}
	return t, r.End()
}

func (r *Reader) check(depth int, t *Traits) error {
	switch r.Kind() {
	case String:
		start := r.off
		s, err := r.text()
		if err == nil && !utf8.Valid(s) {
			r.off = start
			err = r.fail(badText)
		}
		return err
	case Bytes:
		*t |= HasBinary
	case Extension:
		e, err := r.Ext()
		switch _, date := e.Time(); {
		case date && e.Type == -1:
			*t |= HasTimestamp
		case !date && !e.Undefined():
			*t |= HasBinary
		}
		return err
	case Array, Map:
		if depth >= MaxDepth {
			return r.fail("nested too deep")
		}
	}
	n, err := r.skipOne()
	for ; n > 0 && err == nil; n-- {
		err = r.check(depth+1, t)
	}
	return err
}

// RawWithin is Raw for a value of no more than so many levels of arrays and maps.
func (r *Reader) RawWithin(levels int) ([]byte, error) {
	start := r.off
	containers, err := r.skip()
	if err != nil {
		return nil, err
	}
	raw := r.b[start:r.off:r.off]
	if inner := NewReader(raw); containers >= levels && !inner.within(levels) {
		r.off = start
		return nil, r.fail("nested too deep")
	}
	return raw, nil
}

// within passes over a sound value and reports whether it has no more than so many
// levels.
func (r *Reader) within(levels int) bool {
	if k := r.Kind(); levels == 0 && (k == Array || k == Map) {
		return false
	}
	n, _ := r.skipOne()
	for ; n > 0; n-- {
		if !r.within(levels - 1) {
			return false
		}
	}
	return true
}
