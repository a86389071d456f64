package jsonscan

import (
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Kind is what a value is.
type Kind uint8

// Kinds of values.
const (
	None Kind = iota // the zero Value: nothing there
	Null
	Bool
	Number
	String
	Array
	Object
	End // of an array or object, in Tokens only
)

// Value is a value inside a document that Parse has checked. Its methods never fail:
// asked for what it is not, they return zero. The zero Value is None.
type Value struct{ b []byte }

// Kind tells what v is.
func (v Value) Kind() Kind {
	if len(v.b) == 0 {
		return None
	}
	switch v.b[0] {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return Number
}

// Missing reports whether v is nothing or null.
func (v Value) Missing() bool { return v.Kind() <= Null }

// Raw returns the text of v, which shares memory with the document.
func (v Value) Raw() []byte { return v.b }

// Bool returns whether v is true.
func (v Value) Bool() bool { return len(v.b) == 4 && v.b[0] == 't' }

// Int returns the number that v is if an int64 holds it and it is written without
// fraction or exponent.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(alias(v.b), 10, 64)
	return n, err == nil
}

// Uint is Int for a uint64.
func (v Value) Uint() (n uint64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseUint(alias(v.b), 10, 64)
	return n, err == nil
}

// Float returns the number that v is, as JavaScript reads it: infinite if it is too
// large.
func (v Value) Float() (f float64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	f, _ = strconv.ParseFloat(alias(v.b), 64)
	return f, true
}

// Text returns the string that v is. It shares memory with the document unless it
// has escapes. Surrogates without a partner become U+FFFD.
func (v Value) Text() string {
	if v.Kind() != String {
		return ""
	}
	inner := v.b[1 : len(v.b)-1]
	for _, c := range inner {
		if c == '\\' {
			return alias(unescape(make([]byte, 0, len(inner)), inner))
		}
	}
	return alias(inner)
}

// AppendText appends the string that v is.
func (v Value) AppendText(dst []byte) []byte {
	if v.Kind() != String {
		return dst
	}
	return unescape(dst, v.b[1:len(v.b)-1])
}

// Elements yields what the array v holds.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		for i := space(v.b, 1); v.b[i] != ']'; {
			end := skip(v.b, i)
			if !yield(Value{v.b[i:end:end]}) {
				return
			}
			if i = space(v.b, end); v.b[i] == ',' {
				i = space(v.b, i+1)
			}
		}
	}
}

// Members yields what the object v holds, in order. A key may come more than once;
// in JavaScript the last one counts.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		for i := space(v.b, 1); v.b[i] != '}'; {
			end := skip(v.b, i)
			key := Value{v.b[i:end]}.Text()
			i = space(v.b, space(v.b, end)+1) // over the colon
			end = skip(v.b, i)
			if !yield(key, Value{v.b[i:end:end]}) {
				return
			}
			if i = space(v.b, end); v.b[i] == ',' {
				i = space(v.b, i+1)
			}
		}
	}
}

// Get returns the member of the object v with that key, the last one if there are
// several.
func (v Value) Get(key string) (found Value) {
	for k, m := range v.Members() {
		if k == key {
			found = m
		}
	}
	return found
}

// Tokens yields everything in v in one pass: scalars and keys as they come, and for
// each array or object its beginning, with the zero Value, and its End.
func (v Value) Tokens() iter.Seq2[Kind, Value] {
	return func(yield func(Kind, Value) bool) {
		for i := 0; i < len(v.b); {
			k, t, end := None, Value{}, i+1
			switch c := v.b[i]; c {
			case ' ', '\n', '\t', '\r', ',', ':':
				i++
				continue
			case '[':
				k = Array
			case '{':
				k = Object
			case ']', '}':
				k = End
			default:
				end = skip(v.b, i)
				t = Value{v.b[i:end:end]}
				k = t.Kind()
			}
			if !yield(k, t) {
				return
			}
			i = end
		}
	}
}

// skip returns where the value at i of a checked document ends.
func skip(b []byte, i int) int {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		default:
			if depth == 0 { // a number or a word
				for i < len(b) && b[i] != ',' && b[i] != ']' && b[i] != '}' && b[i] > ' ' {
					i++
				}
				return i
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
}

// unescape appends the text of a checked string without its quotes.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		i += 2
		switch c = s[i-1]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(s[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
					pair = utf16.DecodeRune(r, hex4(s[i+2:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func hex4(s []byte) (r rune) {
	for _, c := range s[:4] {
		r <<= 4
		if c <= '9' {
			r |= rune(c - '0')
		} else {
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}

// alias returns b as a string without copying it.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
