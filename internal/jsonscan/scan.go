// Package jsonscan reads JSON from untrusted peers lazily: a document is checked once
// from end to end, and then only the parts that somebody asks for are looked at.
// Keys are compared exactly, as JavaScript does (encoding/json ignores their case,
// which would mix up the keys "requestid" and "requestId").
package jsonscan

import (
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how many levels of arrays and objects Parse accepts. It is more than a
// Node.js server can write, and less than encoding/json reads.
const MaxDepth = 8192

// SyntaxError says where and why text is not JSON.
type SyntaxError struct {
	Offset int // in bytes
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("json: %s at offset %d", e.Reason, e.Offset)
}

// Parse checks that b holds exactly one JSON value in valid UTF-8, nested no deeper
// than MaxDepth, and returns it. The value shares memory with b.
func Parse(b []byte) (Value, error) { return ParseWithin(b, MaxDepth) }

// ParseWithin is Parse with a limit of its own, of up to MaxDepth levels.
func ParseWithin(b []byte, levels int) (Value, error) {
	s := scanner{b: b, levels: min(levels, MaxDepth)}
	if err := s.check(); err != nil {
		return Value{}, err
	}
	start := space(b, 0)
	return Value{b[start:s.off:s.off]}, nil
}

// scanner checks a document without recursion.
type scanner struct {
	b      []byte
	off    int
	depth  int
	levels int
	// objects has a bit for each open level: set if it is an object.
	objects [MaxDepth / 64]uint64
}

func (s *scanner) fail(reason string) error { return &SyntaxError{Offset: s.off, Reason: reason} }

func (s *scanner) check() error {
	for {
		// A value is due, or (first in a container) its end; keys are read on the way.
		s.off = space(s.b, s.off)
		opened, err := s.value()
		if err != nil {
			return err
		}
		if opened {
			continue
		}
		// A value has ended: close containers until something else is due.
		for s.depth > 0 {
			s.off = space(s.b, s.off)
			if s.off >= len(s.b) {
				return s.fail("unexpected end")
			}
			c := s.b[s.off]
			if c == ',' {
				s.off++
				if s.inObject() {
					if err := s.key(); err != nil {
						return err
					}
				}
				break
			}
			if c != s.closer() {
				return s.fail("expected a comma or the end of the container")
			}
			s.off++
			s.depth--
		}
		if s.depth == 0 {
			if end := space(s.b, s.off); end < len(s.b) {
				s.off = end
				return s.fail("unexpected bytes after the value")
			}
			return nil
		}
	}
}

func (s *scanner) inObject() bool {
	d := s.depth - 1
	return s.objects[d/64]&(1<<(d%64)) != 0
}

func (s *scanner) closer() byte {
	if s.inObject() {
		return '}'
	}
	return ']'
}

// value reads a scalar, an empty container, or the beginning of another one, with its
// first key.
func (s *scanner) value() (opened bool, err error) {
	if s.off >= len(s.b) {
		return false, s.fail("unexpected end")
	}
	switch c := s.b[s.off]; c {
	case '{', '[':
		if s.depth == s.levels {
			return false, s.fail("nested too deep")
		}
		object := c == '{'
		if d := s.depth; object {
			s.objects[d/64] |= 1 << (d % 64)
		} else {
			s.objects[d/64] &^= 1 << (d % 64)
		}
		s.depth++
		s.off = space(s.b, s.off+1)
		if s.off < len(s.b) && s.b[s.off] == s.closer() {
			s.off++
			s.depth--
			return false, nil
		}
		if object {
			return true, s.key()
		}
		return true, nil
	case '"':
		return false, s.str()
	case 't':
		return false, s.word("true")
	case 'f':
		return false, s.word("false")
	case 'n':
		return false, s.word("null")
	}
	return false, s.number()
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.off < len(w) || string(s.b[s.off:s.off+len(w)]) != w {
		return s.fail("invalid value")
	}
	s.off += len(w)
	return nil
}

func (s *scanner) key() error {
	s.off = space(s.b, s.off)
	if s.off >= len(s.b) || s.b[s.off] != '"' {
		return s.fail("expected a key")
	}
	if err := s.str(); err != nil {
		return err
	}
	s.off = space(s.b, s.off)
	if s.off >= len(s.b) || s.b[s.off] != ':' {
		return s.fail("expected a colon")
	}
	s.off++
	return nil
}

// str checks a string, which begins at the offset.
func (s *scanner) str() error {
	start := s.off
	for i := start + 1; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			if !utf8.Valid(s.b[start:i]) {
				return s.fail("string is not valid UTF-8")
			}
			s.off = i + 1
			return nil
		case c < 0x20:
			s.off = i
			return s.fail("control character in string")
		case c == '\\':
			n := escape(s.b[i:])
			if n == 0 {
				s.off = i
				return s.fail("invalid escape")
			}
			i += n - 1
		}
	}
	return s.fail("string without end")
}

// escape returns the length of the escape sequence that b begins with; zero if it is
// none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

func (s *scanner) number() error {
	i := s.off
	if i < len(s.b) && s.b[i] == '-' {
		i++
	}
	n := digits(s.b, i)
	if n == i || s.b[i] == '0' && n > i+1 {
		return s.fail("invalid value")
	}
	i = n
	if i < len(s.b) && s.b[i] == '.' {
		if n = digits(s.b, i+1); n == i+1 {
			return s.fail("invalid number")
		}
		i = n
	}
	if i < len(s.b) && s.b[i]|0x20 == 'e' {
		i++
		if i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		if n = digits(s.b, i); n == i {
			return s.fail("invalid number")
		}
		i = n
	}
	s.off = i
	return nil
}

// digits returns where the run of digits at i ends.
func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// space returns where the white space at i ends.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
