package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Kind is the type of a value.
type Kind uint8

// Kinds of values. Reader.Kind also returns Invalid at the end of the input.
const (
	Invalid Kind = iota
	Nil
	Bool
	Int
	Float
	String
	Bytes
	Array
	Map
	Extension
)

var kindNames = [...]string{"invalid", "nil", "bool", "int", "float", "string", "bytes", "array", "map", "extension"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Reader iterates over encoded values. It copies nothing: strings and byte slices that it returns share memory with
// the input, which must not be written to while they are in use.
//
// A method that returns an error has not moved the reader. The errors are *SyntaxError. A Reader is a value: copying
// it saves its position.
type Reader struct {
	b   []byte
	off int
}

// NewReader returns a reader at the beginning of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Offset returns the number of bytes read.
func (r *Reader) Offset() int { return r.off }

// Len returns the number of bytes left.
func (r *Reader) Len() int { return len(r.b) - r.off }

// End returns an error if bytes are left.
func (r *Reader) End() error {
	if r.off < len(r.b) {
		return r.fail("unexpected bytes after the value")
	}
	return nil
}

// Kind returns the type of the next value without reading it.
func (r *Reader) Kind() Kind {
	if r.off >= len(r.b) {
		return Invalid
	}
	return kinds[r.b[r.off]]
}

// kinds of the header bytes. It is a table for speed, because every value begins with a header byte.
var kinds = func() (k [256]Kind) {
	fill := func(from, to int, kind Kind) {
		for c := from; c <= to; c++ {
			k[c] = kind
		}
	}
	fill(0x00, 0x7f, Int)
	fill(0x80, 0x8f, Map)
	fill(0x90, 0x9f, Array)
	fill(0xa0, 0xbf, String)
	k[codeNil], k[codeFalse], k[codeTrue] = Nil, Bool, Bool
	fill(codeBin8, codeBin32, Bytes)
	fill(codeExt8, codeExt32, Extension)
	fill(codeFloat32, codeFloat64, Float)
	fill(codeUint8, codeInt64, Int)
	fill(codeFixext1, codeFixext16, Extension)
	fill(codeStr8, codeStr32, String)
	fill(codeArray16, codeArray32, Array)
	fill(codeMap16, codeMap32, Map)
	fill(0xe0, 0xff, Int)
	return k
}()

func (r *Reader) fail(reason string) error {
	return &SyntaxError{Offset: r.off, Reason: reason}
}

func (r *Reader) want(k Kind) error {
	if got := r.Kind(); got != Invalid {
		return r.fail(got.String() + " where " + k.String() + " was expected")
	}
	if r.off >= len(r.b) {
		return r.fail("unexpected end")
	}
	return r.fail("invalid header byte")
}

// uint reads n big-endian bytes after skip bytes of header. It returns false if the input is too short.
func (r *Reader) uint(skip, n int) (v uint64, ok bool) {
	if r.Len() < skip+n {
		return 0, false
	}
	b := r.b[r.off+skip:]
	switch n {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(binary.BigEndian.Uint16(b)), true
	case 4:
		return uint64(binary.BigEndian.Uint32(b)), true
	}
	return binary.BigEndian.Uint64(b), true
}

// sized reads the header of a value that declares a length. base is the header byte of its 8-bit (or, for containers,
// 16-bit) form, and width the number of length bytes. It returns the length and the size of the header.
func (r *Reader) sized(base byte, width int) (n, header int, ok bool) {
	width <<= r.b[r.off] - base
	v, ok := r.uint(1, width)
	if !ok || v > math.MaxInt32 && uint64(r.Len()) < v {
		return 0, 0, false
	}
	return int(v), 1 + width, true
}

const (
	short   = "length runs past the end"
	badText = "string is not valid UTF-8"
)

// Nil reads nil.
func (r *Reader) Nil() error {
	if r.Kind() != Nil {
		return r.want(Nil)
	}
	r.off++
	return nil
}

// TryRaw skips the bytes of want if exactly they come next.
func (r *Reader) TryRaw(want string) bool {
	if r.Len() < len(want) || string(r.b[r.off:r.off+len(want)]) != want {
		return false
	}
	r.off += len(want)
	return true
}

// TryText skips the string want, in any of its forms, if it comes next.
func (r *Reader) TryText(want string) bool {
	q := *r
	b, err := q.text()
	if err != nil || string(b) != want {
		return false
	}
	*r = q
	return true
}

// TryNil reads nil, or JavaScript's undefined, if it comes next.
func (r *Reader) TryNil() bool {
	switch {
	case r.Kind() == Nil:
		r.off++
		return true
	case r.Undefined():
		r.off += 3
		return true
	}
	return false
}

// Undefined reports whether notepack.io's form of JavaScript's undefined comes next.
func (r *Reader) Undefined() bool {
	return r.Len() >= 3 && r.b[r.off] == codeFixext1 && r.b[r.off+1] == 0
}

// Bool reads a boolean.
func (r *Reader) Bool() (bool, error) {
	if r.Kind() != Bool {
		return false, r.want(Bool)
	}
	v := r.b[r.off] == codeTrue
	r.off++
	return v, nil
}

// integer reads any integer as its 64 bits. neg reports whether they are signed and below zero. It moves the reader
// only if ok.
func (r *Reader) integer() (bits uint64, neg, ok bool) {
	c := r.b[r.off]
	switch {
	case c < 0x80:
		r.off++
		return uint64(c), false, true
	case c >= 0xe0:
		r.off++
		return uint64(int64(int8(c))), true, true
	}
	n := 1 << ((c - codeUint8) & 3)
	v, ok := r.uint(1, n)
	if !ok {
		return 0, false, false
	}
	r.off += 1 + n
	if c < codeInt8 {
		return v, false, true
	}
	s := int64(v<<(64-8*n)) >> (64 - 8*n)
	return uint64(s), s < 0, true
}

// Int reads an integer that an int64 holds.
func (r *Reader) Int() (int64, error) {
	if r.Kind() != Int {
		return 0, r.want(Int)
	}
	start := r.off
	v, neg, ok := r.integer()
	if !ok {
		return 0, r.fail(short)
	}
	if !neg && v > math.MaxInt64 {
		r.off = start
		return 0, r.fail("integer too large")
	}
	return int64(v), nil
}

// Uint reads an integer that is not negative.
func (r *Reader) Uint() (uint64, error) {
	if r.Kind() != Int {
		return 0, r.want(Int)
	}
	start := r.off
	v, neg, ok := r.integer()
	if !ok {
		return 0, r.fail(short)
	}
	if neg {
		r.off = start
		return 0, r.fail("negative integer")
	}
	return v, nil
}

// Float reads any number as a float64.
func (r *Reader) Float() (float64, error) {
	switch r.Kind() {
	case Int:
		v, neg, ok := r.integer()
		if !ok {
			return 0, r.fail(short)
		}
		if neg {
			return float64(int64(v)), nil
		}
		return float64(v), nil
	case Float:
		n := 4
		if r.b[r.off] == codeFloat64 {
			n = 8
		}
		v, ok := r.uint(1, n)
		if !ok {
			return 0, r.fail(short)
		}
		r.off += 1 + n
		if n == 4 {
			return float64(math.Float32frombits(uint32(v))), nil
		}
		return math.Float64frombits(v), nil
	}
	return 0, r.want(Float)
}

// String reads a string and refuses invalid UTF-8. The string shares memory with the input.
func (r *Reader) String() (string, error) {
	start := r.off
	b, err := r.text()
	if err != nil || len(b) == 0 {
		return "", err
	}
	if !utf8.Valid(b) {
		r.off = start
		return "", r.fail(badText)
	}
	return unsafe.String(&b[0], len(b)), nil
}

// text reads the bytes of a string.
func (r *Reader) text() ([]byte, error) {
	if r.Kind() != String {
		return nil, r.want(String)
	}
	if c := r.b[r.off]; c < 0xc0 { // nearly always
		start := r.off + 1
		end := start + int(c&0x1f)
		if end > len(r.b) {
			return nil, r.fail(short)
		}
		r.off = end
		return r.b[start:end:end], nil
	}
	n, header, ok := r.sized(codeStr8, 1)
	if !ok || r.Len()-header < n {
		return nil, r.fail(short)
	}
	b := r.b[r.off+header : r.off+header+n : r.off+header+n]
	r.off += header + n
	return b, nil
}

// Bytes reads binary data and refuses a string. The slice shares memory with the input.
func (r *Reader) Bytes() ([]byte, error) {
	if r.Kind() != Bytes {
		return nil, r.want(Bytes)
	}
	n, header, ok := r.sized(codeBin8, 1)
	if !ok || r.Len()-header < n {
		return nil, r.fail(short)
	}
	b := r.b[r.off+header : r.off+header+n : r.off+header+n]
	r.off += header + n
	return b, nil
}

// ArrayLen reads the header of an array and returns the number of values that follow. It refuses an array that
// declares more values than bytes are left.
func (r *Reader) ArrayLen() (int, error) {
	if r.Kind() != Array {
		return 0, r.want(Array)
	}
	n, header, ok := int(r.b[r.off]&0x0f), 1, true
	if r.b[r.off] >= 0xc0 {
		n, header, ok = r.sized(codeArray16, 2)
	}
	if !ok || r.Len()-header < n {
		return 0, r.fail(short)
	}
	r.off += header
	return n, nil
}

// MapLen reads the header of a map and returns the number of keys that follow, each with its value. It refuses a map
// that declares more than the bytes left can hold.
func (r *Reader) MapLen() (int, error) {
	if r.Kind() != Map {
		return 0, r.want(Map)
	}
	n, header, ok := int(r.b[r.off]&0x0f), 1, true
	if r.b[r.off] >= 0xc0 {
		n, header, ok = r.sized(codeMap16, 2)
	}
	if !ok || (r.Len()-header)/2 < n {
		return 0, r.fail(short)
	}
	r.off += header
	return n, nil
}

// Ext reads an extension value. Its Data shares memory with the input.
func (r *Reader) Ext() (Ext, error) {
	if r.Kind() != Extension {
		return Ext{}, r.want(Extension)
	}
	c := r.b[r.off]
	n, header, ok := 0, 1, true
	if c >= codeFixext1 {
		n = 1 << (c - codeFixext1)
	} else {
		n, header, ok = r.sized(codeExt8, 1)
	}
	if !ok || r.Len()-header-1 < n {
		return Ext{}, r.fail(short)
	}
	start := r.off + header + 1
	e := Ext{Type: int8(r.b[start-1]), Data: r.b[start : start+n : start+n], header: c}
	r.off = start + n
	return e, nil
}

// Skip reads one value of any kind and discards it. It checks only the structure: strings may be invalid UTF-8.
// Nesting costs neither stack nor memory.
func (r *Reader) Skip() error {
	_, err := r.skip()
	return err
}

// skip is Skip, and counts the arrays and maps that are not empty.
func (r *Reader) skip() (containers int, err error) {
	start := r.off
	// Every pending value takes at least one byte, so a count above Len is false and the sum cannot overflow.
	for owed := 1; owed > 0; owed-- {
		n, err := r.skipOne()
		if n > 0 {
			owed += n
			containers++
		}
		if err == nil && owed-1 > r.Len() {
			err = r.fail(short)
		}
		if err != nil {
			r.off = start
			return 0, err
		}
	}
	return containers, nil
}

// skipOne skips one value, or the header of a container, and returns the number of values in the container.
func (r *Reader) skipOne() (int, error) {
	switch r.Kind() {
	case Nil, Bool:
		r.off++
		return 0, nil
	case Int:
		if _, _, ok := r.integer(); !ok {
			return 0, r.fail(short)
		}
		return 0, nil
	case Float:
		_, err := r.Float()
		return 0, err
	case String:
		_, err := r.text()
		return 0, err
	case Bytes:
		_, err := r.Bytes()
		return 0, err
	case Extension:
		_, err := r.Ext()
		return 0, err
	case Array:
		return r.ArrayLen()
	case Map:
		n, err := r.MapLen()
		return 2 * n, err
	}
	return 0, r.want(Invalid)
}

// Raw reads one value of any kind and returns its bytes, which share memory with the input. It checks as much as Skip.
func (r *Reader) Raw() ([]byte, error) {
	start := r.off
	if err := r.Skip(); err != nil {
		return nil, err
	}
	return r.b[start:r.off:r.off], nil
}
