package adapter

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
)

var (
	errNoName = errors.New("a room or socket that is neither text nor a number")
	errNoList = errors.New("not a list")
)

// checkText refuses names that are not valid UTF-8: Node.js processes end when they
// read them.
func checkText(message string, lists ...[]string) error {
	for _, list := range lists {
		for _, s := range list {
			if !utf8.ValidString(s) {
				return &MessageError{Message: message, Reason: "name is not valid UTF-8"}
			}
		}
	}
	return nil
}

// appendRooms appends a list of rooms, those that are numbers in writing in both
// forms, text first.
func (c *codec) appendRooms(dst []byte, list []string) []byte {
	n := len(list)
	for _, room := range list {
		if _, both := c.asNumber(room); both {
			n++
		}
	}
	dst = msgpack.AppendArrayLen(dst, n)
	for _, room := range list {
		dst = msgpack.AppendString(dst, room)
		if v, both := c.asNumber(room); both {
			dst = msgpack.AppendInt(dst, v)
		}
	}
	return dst
}

// readRooms reads a list of rooms and appends it to dst, each once, numbers as text.
// Nothing and nil are an empty list [PROTOCOL 4]. What is no name at all is an error:
// left out it would turn "to these" into "to everybody".
func readRooms(r *msgpack.Reader, dst []string) ([]string, error) {
	if r.TryNil() {
		return dst, nil
	}
	n, err := r.ArrayLen()
	if err != nil {
		return dst, err
	}
	set := nameSet{list: dst, expect: n}
	for range n {
		switch r.Kind() {
		case msgpack.String:
			s, err := r.String()
			if err != nil {
				return dst, err
			}
			set.add(s)
		case msgpack.Int, msgpack.Float:
			if err := set.addNumber(r); err != nil {
				return dst, err
			}
		default:
			return dst, errNoName
		}
	}
	return set.list, nil
}

// roomsOf is readRooms for JSON.
func roomsOf(v jsonscan.Value, dst []string) ([]string, error) {
	if v.Missing() {
		return dst, nil
	}
	if v.Kind() != jsonscan.Array {
		return dst, errNoList
	}
	set := nameSet{list: dst, expect: len(v.Raw()) / 2}
	for e := range v.Elements() {
		name, ok := nameOf(e)
		if !ok {
			return dst, errNoName
		}
		set.add(name)
	}
	return set.list, nil
}

// nameOf returns a room or socket id; a number in the text JavaScript gives it.
func nameOf(v jsonscan.Value) (string, bool) {
	if v.Kind() == jsonscan.String {
		return v.Text(), true
	}
	if n, ok := v.Int(); ok && n >= -maxSafe && n <= maxSafe {
		return strconv.FormatInt(n, 10), true
	}
	f, ok := v.Float()
	return msgpack.FormatNumber(f), ok
}

// nameSet appends names to a list that are not there yet.
type nameSet struct {
	list   []string
	expect int // how many come at most
	index  map[string]struct{}
}

// Lists up to this length are searched one by one.
const shortList = 16

func (s *nameSet) has(name string) bool {
	if s.expect <= shortList {
		for _, have := range s.list {
			if have == name {
				return true
			}
		}
		return false
	}
	if s.index == nil {
		s.index = make(map[string]struct{})
		for _, have := range s.list {
			s.index[have] = struct{}{}
		}
	}
	_, ok := s.index[name]
	return ok
}

func (s *nameSet) add(name string) {
	if s.has(name) {
		return
	}
	s.list = append(s.list, name)
	if s.index != nil {
		s.index[name] = struct{}{}
	}
}

// addNumber is add for the text of a number, without making a string of one that is
// there.
func (s *nameSet) addNumber(r *msgpack.Reader) error {
	n, err := r.Int()
	if err != nil { // a fraction, or too large
		text, err := r.AppendNumber(nil)
		s.add(string(text))
		return err
	}
	var buf [20]byte
	text := strconv.AppendInt(buf[:0], n, 10)
	if s.expect <= shortList {
		for _, have := range s.list {
			if have == string(text) {
				return nil
			}
		}
	}
	s.add(string(text))
	return nil
}
