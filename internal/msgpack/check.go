package msgpack

import "unicode/utf8"

// Check reports whether b holds exactly one value that every reader accepts: complete, with valid UTF-8 in all text,
// and nested no deeper than MaxDepth. depth is the number of levels around the value, which count too. Node.js
// processes crash on anything else. The error is a *SyntaxError.
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
		_, err := r.checkText()
		return err
	case Bytes:
		*t |= HasBinary
	case Extension:
		e, err := r.Ext()
		*t |= extTraits(e)
		return err
	case Array:
		if depth >= MaxDepth {
			return r.fail("nested too deep")
		}
		n, err := r.ArrayLen()
		for ; n > 0 && err == nil; n-- {
			err = r.check(depth+1, t)
		}
		return err
	case Map:
		if depth >= MaxDepth {
			return r.fail("nested too deep")
		}
		n, err := r.MapLen()
		for ; n > 0 && err == nil; n-- {
			err = r.checkEntry(depth+1, t)
		}
		return err
	}
	_, err := r.skipOne()
	return err
}

// checkEntry checks a key of a map and its value.
func (r *Reader) checkEntry(depth int, t *Traits) error {
	if r.Kind() != String {
		if !isKey(r.Kind()) {
			*t |= HasOddKey
		}
		if err := r.check(depth, t); err != nil {
			return err
		}
		return r.check(depth, t)
	}
	key, err := r.checkText()
	if err != nil {
		return err
	}
	at := r.off
	if err := r.check(depth, t); err != nil {
		return err
	}
	*t |= keyTraits(key, r.b[at])
	return nil
}

func (r *Reader) checkText() ([]byte, error) {
	start := r.off
	s, err := r.text()
	if err == nil && !utf8.Valid(s) {
		r.off = start
		err = r.fail(badText)
	}
	return s, err
}

// RawWithin is Raw for a value with at most that many levels of arrays and maps.
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

// within skips a sound value and reports whether it has at most that many levels.
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
