package socketio

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
)

var errNoList = errors.New("not a list")

// checkText refuses names that are not valid UTF-8: receivers would read different names.
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

// appendRooms appends a list of rooms. A room whose name is a number appears in both forms,
// text first.
func (c *Codec) appendRooms(dst []byte, list []string) []byte {
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

// noSuchRoom represents a list of rooms without a single name, such as [null]. No room can
// have this name. An empty list would select all sockets instead of none.
const noSuchRoom = "\xff"

// readRooms reads the rooms that JavaScript's Set makes of a value and appends each once to
// dst, numbers as text. The value is a list, a text whose characters are the rooms, or nil.
// Elements of a list that are neither text nor numbers name no room.
func readRooms(r *msgpack.Reader, dst []string) ([]string, error) {
	if r.Kind() != msgpack.Array {
		return readOddRooms(r, dst)
	}
	n, err := r.ArrayLen()
	if err != nil {
		return dst, err
	}
	set := nameSet{list: dst, expect: n}
	for range n {
		switch r.Kind() {
		case msgpack.String:
			s, err := r.Text()
			if err != nil {
				return dst, err
			}
			set.add(s)
		case msgpack.Int, msgpack.Float:
			if err := set.addNumber(r); err != nil {
				return dst, err
			}
		default:
			if err := r.Skip(); err != nil {
				return dst, err
			}
		}
	}
	if n > 0 && len(set.list) == 0 {
		return append(set.list, noSuchRoom), nil
	}
	return set.list, nil
}

// readOddRooms is readRooms for a value that is not an array.
func readOddRooms(r *msgpack.Reader, dst []string) ([]string, error) {
	switch kind := r.Kind(); {
	case r.TryNil():
		return dst, nil
	case kind == msgpack.String:
		s, err := r.Text()
		return appendCharacters(dst, s), err
	case kind == msgpack.Bytes:
		data, err := r.Bytes()
		set := nameSet{list: dst, expect: len(data)}
		for _, c := range data {
			set.add(strconv.Itoa(int(c)))
		}
		return set.list, err
	case kind == msgpack.Extension:
		e, err := r.Ext() // JavaScript reads an unknown extension as a list of type and data
		if _, date := e.Time(); err == nil && !date && e.Type != 0 {
			return append(dst, strconv.Itoa(int(e.Type))), nil
		}
		return dst, cmp.Or(err, errNoList)
	}
	return dst, errNoList
}

// appendCharacters appends the characters of s, each once.
func appendCharacters(dst []string, s string) []string {
	set := nameSet{list: dst, expect: len(s)}
	for i, c := range s {
		set.add(s[i : i+utf8.RuneLen(c)])
	}
	return set.list
}

// roomsOf is readRooms for JSON.
func roomsOf(v jsonscan.Value, dst []string) ([]string, error) {
	switch v.Kind() {
	case jsonscan.None, jsonscan.Null:
		return dst, nil
	case jsonscan.String:
		return appendCharacters(dst, v.Text()), nil
	case jsonscan.Array:
		list, empty := listOf(v, dst)
		if len(list) == 0 && !empty {
			list = append(list, noSuchRoom)
		}
		return list, nil
	}
	return dst, errNoList
}

// listOf appends the rooms or ids in a list, each once, and reports whether it was empty.
func listOf(v jsonscan.Value, dst []string) (list []string, empty bool) {
	set := nameSet{list: dst, expect: len(v.Raw()) / 2}
	empty = true
	for e := range v.Elements() {
		empty = false
		if name, ok := nameOf(e); ok {
			set.add(name)
		}
	}
	return set.list, empty
}

// roomsOf5 is roomsOf for requests of v5. Its servers read any value without a length as an
// empty list, and use the text of any element as a room.
func roomsOf5(v jsonscan.Value, dst []string) []string {
	switch v.Kind() {
	case jsonscan.String:
		return appendCharacters(dst, v.Text())
	case jsonscan.Array:
		return textsOf(v, dst)
	}
	return dst
}

// textsOf appends the text of each element of a list, each once.
func textsOf(v jsonscan.Value, dst []string) []string {
	set := nameSet{list: dst, expect: len(v.Raw()) / 2}
	for e := range v.Elements() {
		set.add(textOf(e))
	}
	return set.list
}

// textOf returns the text to which JavaScript converts v.
func textOf(v jsonscan.Value) string {
	if v.Kind() == jsonscan.String {
		return v.Text()
	}
	return string(v.AppendScript(nil))
}

// nameOf returns a room or socket id. A number becomes its text in JavaScript.
func nameOf(v jsonscan.Value) (name string, ok bool) {
	if kind := v.Kind(); kind != jsonscan.String && kind != jsonscan.Number {
		return "", false
	}
	return textOf(v), true
}

// nameSet appends names to a list, each once.
type nameSet struct {
	list   []string
	expect int // an upper limit of the names to come
	index  map[string]struct{}
}

// shortList is the length up to which a linear search is used.
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

// addNumber is add for the text of a number. It allocates no string for a name that a short
// list already has.
func (s *nameSet) addNumber(r *msgpack.Reader) error {
	var buf [32]byte
	text := buf[:0]
	q := *r
	n, err := q.Int()
	if err == nil && n >= -maxSafe && n <= maxSafe {
		*r, text = q, strconv.AppendInt(text, n, 10)
	} else if text, err = r.AppendNumber(text); err != nil {
		return err
	}
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

// NamesSocket reports whether a room has a name like a socket's own room: 20 letters,
// digits, - and _, in v5 behind a namespace and #.
func NamesSocket(room string) bool {
	id := room[strings.LastIndexByte(room, '#')+1:]
	if len(id) != 20 || len(id) < len(room) && room[0] != '/' {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// EventName returns the name of a server-side event: the text of the first element of its
// JSON list, as in JavaScript.
func EventName(payload []byte) (name string) {
	if v, err := jsonscan.Parse(payload); err == nil {
		for first := range v.Elements() {
			return textOf(first)
		}
	}
	return ""
}
