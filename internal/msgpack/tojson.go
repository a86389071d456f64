package msgpack

import (
	"strconv"
	"time"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// AppendJSON appends the one value in raw as the JSON that a Node.js server makes of it with JSON.stringify:
//
//   - Dates are ISO strings with milliseconds; NaN, infinities and invalid dates are null.
//   - undefined is null in arrays and on its own; in maps it is omitted with its key.
//   - Keys keep their order, and become text like in JavaScript.
//   - In invalid UTF-8, U+FFFD stands for each ill-formed sequence.
//   - Integers keep all their digits. JavaScript's reader rounds them to the number that its writer would have written.
//   - Binary data (bin, or an ArrayBuffer) is passed to attach and becomes {"_placeholder":true,"num":N} with the N that
//     attach returns: Socket.IO's attachments. The slice shares memory with raw. If attach is nil, binary data becomes
//     {"type":"Buffer","data":[…]}, as without attachments.
//   - Values of other extension types are arrays of type and binary data, as notepack.io reads them.
//
// The error is a *SyntaxError. dst is then returned unchanged.
func AppendJSON(dst, raw []byte, attach func([]byte) int) ([]byte, error) {
	t := transcoder{r: NewReader(raw), dst: dst, attach: attach}
	err := t.value(0)
	if err == nil {
		err = t.r.End()
	}
	if err != nil {
		return dst, err
	}
	return t.dst, nil
}

type transcoder struct {
	r      Reader
	dst    []byte
	attach func([]byte) int
}

func (t *transcoder) put(s string) { t.dst = append(t.dst, s...) }

func (t *transcoder) value(depth int) error {
	switch t.r.Kind() {
	case Nil:
		t.put("null")
		return t.r.Nil()
	case Bool:
		v, err := t.r.Bool()
		t.dst = strconv.AppendBool(t.dst, v)
		return err
	case Int:
		return t.integer()
	case Float:
		v, err := t.r.Float()
		t.dst = jsonscan.AppendFloat(t.dst, v)
		return err
	case String:
		v, err := t.r.Text()
		t.dst = jsonscan.AppendString(t.dst, v)
		return err
	case Bytes:
		v, err := t.r.Bytes()
		if err != nil {
			return err
		}
		t.binary(v)
		return nil
	case Extension:
		return t.extension()
	case Array:
		return t.array(depth)
	case Map:
		return t.object(depth)
	}
	return t.r.Skip() // returns the cause
}

func (t *transcoder) integer() error {
	bits, neg, ok := t.r.integer()
	switch {
	case !ok:
		return t.r.fail(short)
	case neg:
		t.dst = strconv.AppendInt(t.dst, int64(bits), 10)
	default:
		t.dst = strconv.AppendUint(t.dst, bits, 10)
	}
	return nil
}

func (t *transcoder) array(depth int) error {
	if depth == MaxDepth {
		return t.r.fail("nested too deep")
	}
	n, err := t.r.ArrayLen()
	t.put("[")
	for i := 0; i < n && err == nil; i++ {
		if i > 0 {
			t.put(",")
		}
		err = t.value(depth + 1)
	}
	t.put("]")
	return err
}

func (t *transcoder) object(depth int) error {
	if depth == MaxDepth {
		return t.r.fail("nested too deep")
	}
	n, err := t.r.MapLen()
	t.put("{")
	first := true
	for i := 0; i < n && err == nil; i++ {
		start := len(t.dst)
		if !first {
			t.put(",")
		}
		if err = t.key(); err != nil {
			break
		}
		if t.r.Undefined() {
			t.dst = t.dst[:start]
			err = t.r.Skip()
			continue
		}
		first = false
		t.put(":")
		err = t.value(depth + 1)
	}
	t.put("}")
	return err
}

func (t *transcoder) key() error {
	k, err := t.r.Script()
	t.dst = jsonscan.AppendString(t.dst, k)
	return err
}

func (t *transcoder) extension() error {
	e, err := t.r.Ext()
	if err != nil {
		return err
	}
	if e.Undefined() {
		t.put("null")
	} else if when, ok := e.Time(); ok {
		t.date(when)
	} else if data, ok := e.ArrayBuffer(); ok {
		t.binary(data)
	} else {
		t.put("[")
		t.dst = strconv.AppendInt(t.dst, int64(e.Type), 10)
		t.put(",")
		t.binary(e.Data)
		t.put("]")
	}
	return nil
}

// maxDate is the largest date of JavaScript, in milliseconds before or after 1970.
const maxDate = 8_640_000_000_000_000

// ValidDate reports whether JavaScript can represent a date.
func ValidDate(t time.Time) bool {
	// UnixMilli wraps around for times that only the 12-byte form can hold.
	ms, s := t.UnixMilli(), t.Unix()
	return ms >= -maxDate && ms <= maxDate && s >= -maxDate/1000 && s <= maxDate/1000
}

func (t *transcoder) date(when time.Time) {
	if !ValidDate(when) {
		t.put("null")
		return
	}
	year := when.Year()
	switch {
	case year < 0:
		t.put(`"-`)
		t.padded(-year, 6)
	case year > 9999:
		t.put(`"+`)
		t.padded(year, 6)
	default:
		t.put(`"`)
		t.padded(year, 4)
	}
	t.dst = when.AppendFormat(t.dst, `-01-02T15:04:05.000Z"`)
}

func (t *transcoder) padded(n, width int) {
	s := strconv.Itoa(n)
	t.put("000000"[:width-len(s)])
	t.put(s)
}

func (t *transcoder) binary(v []byte) {
	if t.attach != nil {
		t.put(`{"_placeholder":true,"num":`)
		t.dst = strconv.AppendInt(t.dst, int64(t.attach(v)), 10)
		t.put("}")
		return
	}
	t.put(`{"type":"Buffer","data":[`)
	for i, c := range v {
		if i > 0 {
			t.put(",")
		}
		t.dst = strconv.AppendUint(t.dst, uint64(c), 10)
	}
	t.put("]}")
}
