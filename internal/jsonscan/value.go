package jsonscan

import (
	"bytes"
	"iter"
	"strconv"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the type of a value.
type Kind uint8

// Kinds of values.
const (
	None Kind = iota // the zero Value: no value
	Null
	Bool
	Number
	String
	Array
	Object
	End // of an array or object, in Tokens only
)

// Value is a value inside a document that Parse has checked. Its methods never fail: for another kind they return
// zero. The zero Value is None.
type Value struct{ b []byte }

// Kind returns the type of v.
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

// Missing reports whether v is absent or null.
func (v Value) Missing() bool { return v.Kind() <= Null }

// Raw returns the text of v, which shares memory with the document.
func (v Value) Raw() []byte { return v.b }

// Bool returns whether v is true.
func (v Value) Bool() bool { return len(v.b) == 4 && v.b[0] == 't' }

// Int returns the number v if an int64 holds it and it is written without fraction or exponent.
func (v Value) Int() (n int64, ok bool) {
	if !v.whole() {
		return 0, false
	}
	n, err := strconv.ParseInt(alias(v.b), 10, 64)
	return n, err == nil
}

// Uint is Int for a uint64.
func (v Value) Uint() (n uint64, ok bool) {
	if !v.whole() {
		return 0, false
	}
	n, err := strconv.ParseUint(alias(v.b), 10, 64)
	return n, err == nil
}

// whole reports whether v is a number without fraction or exponent. This check costs less than strconv's errors.
func (v Value) whole() bool { return v.Kind() == Number && !bytes.ContainsAny(v.b, ".eE") }

// Float returns the number v as JavaScript reads it: infinite if it is too large.
func (v Value) Float() (f float64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	f, _ = strconv.ParseFloat(alias(v.b), 64)
	return f, true
}

// Text returns the string v. It shares memory with the document unless it has escapes. Surrogates without a partner
// become U+FFFD.
func (v Value) Text() string {
	if v.Kind() != String {
		return ""
	}
	if bytes.IndexByte(v.b, '\\') >= 0 {
		return alias(v.AppendText(nil))
	}
	return alias(v.b[1 : len(v.b)-1])
}

// AppendText appends the string v.
func (v Value) AppendText(dst []byte) []byte {
	if v.Kind() != String {
		return dst
	}
	dst, _ = jsontext.AppendUnquote(dst, v.b) // the error is about half a surrogate pair
	return dst
}

// Elements yields the elements of the array v.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		for i := space(v.b, 1); v.b[i] != ']'; {
			end := skip(v.b, i, MaxDepth)
			if !yield(Value{v.b[i:end:end]}) {
				return
			}
			if i = space(v.b, end); v.b[i] == ',' {
				i = space(v.b, i+1)
			}
		}
	}
}

// Members yields the members of the object v, in order. A key may occur several times; in JavaScript the last one
// counts.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		for i := space(v.b, 1); v.b[i] != '}'; {
			end := skip(v.b, i, MaxDepth)
			key := Value{v.b[i:end]}.Text()
			i = space(v.b, space(v.b, end)+1) // skip the colon
			end = skip(v.b, i, MaxDepth)
			if !yield(key, Value{v.b[i:end:end]}) {
				return
			}
			if i = space(v.b, end); v.b[i] == ',' {
				i = space(v.b, i+1)
			}
		}
	}
}

// Get returns the member of the object v with that key; the last one if there are several.
func (v Value) Get(key string) (found Value) {
	for k, m := range v.Members() {
		if k == key {
			found = m
		}
	}
	return found
}

// Tokens yields everything in v in one pass: scalars and keys in order, and for each array or object its start, with
// the zero Value, and its End.
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
				end = skip(v.b, i, MaxDepth)
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

// skip returns the end of the value at i of a checked document. It is negative if the value has more levels.
func skip(b []byte, i, levels int) (end int) {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '{', '[':
			if depth++; depth > levels {
				return -1
			}
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

// space returns the end of the white space at i.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// alias returns b as a string without copying it.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
