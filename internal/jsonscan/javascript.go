package jsonscan

import "unicode/utf8"

// Valid returns b as JavaScript decodes bytes to text: b itself if it is UTF-8, and otherwise a copy with U+FFFD in
// place of each ill-formed sequence.
func Valid(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return AppendValid(make([]byte, 0, len(b)+8), b)
}

// AppendValid appends Valid(b) to dst.
func AppendValid(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			n = illFormed(b[i:])
			dst = utf8.AppendRune(dst, utf8.RuneError)
		} else {
			dst = append(dst, b[i:i+n]...)
		}
		i += n
	}
	return dst
}

// illFormed returns the length of the ill-formed sequence at the start of b, which becomes one U+FFFD
// (https://encoding.spec.whatwg.org/#utf-8-decoder).
func illFormed(b []byte) int {
	low, high, more := byte(0x80), byte(0xbf), 0
	switch c := b[0]; {
	case c == 0xe0:
		low, more = 0xa0, 1
	case c == 0xed:
		high, more = 0x9f, 1
	case c > 0xe0 && c < 0xf0:
		more = 1
	case c == 0xf0:
		low, more = 0x90, 2
	case c == 0xf4:
		high, more = 0x8f, 2
	case c > 0xf0 && c < 0xf4:
		more = 2
	}
	n := 1
	for ; more > 0 && n < len(b) && b[n] >= low && b[n] <= high; more-- {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}

// Truthy reports whether JavaScript treats v as true in a condition.
func (v Value) Truthy() bool {
	switch v.Kind() {
	case Bool:
		return v.Bool()
	case Number:
		f, _ := v.Float()
		return f != 0
	case String:
		return len(v.b) > 2
	case Array, Object:
		return true
	}
	return false
}

// Is reports whether v is the number n, however it is written.
func (v Value) Is(n int64) bool {
	f, ok := v.Float()
	return ok && f == float64(n)
}

// AppendScript appends the result of JavaScript's String(v).
func (v Value) AppendScript(dst []byte) []byte {
	switch v.Kind() {
	case None:
		return append(dst, "undefined"...)
	case String:
		return v.AppendText(dst)
	case Number:
		f, _ := v.Float()
		return AppendNumber(dst, f)
	case Object:
		return append(dst, "[object Object]"...)
	case Array:
		first := true
		for e := range v.Elements() {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			if !e.Missing() {
				dst = e.AppendScript(dst)
			}
		}
		return dst
	}
	return append(dst, v.b...)
}
