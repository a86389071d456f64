package socketio

import (
	"strconv"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// object writes a JSON object member by member, in the form of JSON.stringify.
type object struct {
	dst   []byte
	comma bool // the next member needs a comma before it
}

func newObject(dst []byte) *object { return &object{dst: append(dst, '{')} }

func (o *object) end() []byte { return append(o.dst, '}') }

func (o *object) key(k string) {
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
	o.dst = append(jsonscan.AppendString(o.dst, k), ':')
}

func (o *object) text(k, v string) {
	o.key(k)
	o.dst = jsonscan.AppendString(o.dst, v)
}

func (o *object) int(k string, v int) {
	o.key(k)
	o.dst = strconv.AppendInt(o.dst, int64(v), 10)
}

func (o *object) bool(k string, v bool) {
	o.key(k)
	o.dst = strconv.AppendBool(o.dst, v)
}

// raw writes a member whose value is JSON.
func (o *object) raw(k string, v []byte) {
	o.key(k)
	o.dst = append(o.dst, v...)
}

func (o *object) texts(k string, list []string) {
	o.list(k, list, func(string) (int64, bool) { return 0, false })
}

// rooms writes a list of rooms. A room whose name is a number appears in both forms.
func (o *object) rooms(c *Codec, k string, list []string) { o.list(k, list, c.asNumber) }

func (o *object) list(k string, list []string, number func(string) (n int64, too bool)) {
	o.key(k)
	o.dst = append(o.dst, '[')
	for i, s := range list {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = jsonscan.AppendString(o.dst, s)
		if n, too := number(s); too {
			o.dst = strconv.AppendInt(append(o.dst, ','), n, 10)
		}
	}
	o.dst = append(o.dst, ']')
}

// open starts a member that is an object; close completes it.
func (o *object) open(k string) {
	o.key(k)
	o.dst = append(o.dst, '{')
	o.comma = false
}

func (o *object) close() {
	o.dst = append(o.dst, '}')
	o.comma = true
}
