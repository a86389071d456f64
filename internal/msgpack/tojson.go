package msgpack

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// AppendJSON appends the one value that raw holds as the JSON that a Node.js server
// makes of it with JSON.stringify:
//
//   - Dates are ISO strings with milliseconds; NaN, infinities and invalid dates null.
//   - undefined is null in arrays and on its own; in maps it is left out with its key.
//   - Keys keep their order, and become text as JavaScript makes them.
//   - Integers keep all their digits (JavaScript's reader rounds them to the same
//     number that its writer would have written).
//   - Binary data (bin, or an ArrayBuffer) is handed to attach and becomes
//     {"_placeholder":true,"num":N} with the N that attach returns: Socket.IO's
//     attachments. The slice shares memory with raw. If attach is nil it becomes
//     {"type":"Buffer","data":[…]} as without attachments.
//   - Values of other extension types are arrays of type and binary data, as
//     notepack.io reads them.
//
// The error is a *SyntaxError, and dst is then returned as it was.
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
		v, err := t.r.String()
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
	return t.r.Skip() // explains what is wrong
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
	if t.r.Kind() == String {
		return t.value(0)
	}
	k, err := t.r.key()
	t.dst = jsonscan.AppendString(t.dst, k)
	return err
}

// key reads the key of a map as JavaScript makes it into a string.
func (r *Reader) key() (string, error) {
	switch r.Kind() {
	case String:
		return r.String()
	case Nil:
		return "null", r.Nil()
	case Bool:
		v, err := r.Bool()
		return strconv.FormatBool(v), err
	case Int, Float:
		text, err := r.AppendNumber(nil)
		return string(text), err
	case Bytes:
		start := r.off
		v, err := r.Bytes()
		if err == nil && !utf8.Valid(v) {
			r.off = start
			return "", r.fail("binary key is not valid UTF-8")
		}
		return string(v), err
	}
	return "", r.want(String)
}

// AppendNumber reads any number and appends it to dst as JavaScript's String does,
// but integers with all their digits.
func (r *Reader) AppendNumber(dst []byte) ([]byte, error) {
	if r.Kind() == Int {
		t := transcoder{r: *r, dst: dst}
		err := t.integer()
		*r = t.r
		return t.dst, err
	}
	v, err := r.Float()
	if err != nil {
		return dst, err
	}
	return append(dst, FormatNumber(v)...), nil
}

// FormatNumber returns a number as JavaScript's String does.
func FormatNumber(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	return string(jsonscan.AppendNumber(nil, v))
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

// maxDate is the largest date of JavaScript, in milliseconds from 1970 either way.
const maxDate = 8_640_000_000_000_000

func (t *transcoder) date(when time.Time) {
	ms := when.UnixMilli()
	// UnixMilli wraps around for times that only the 12-byte form can hold.
	if ms < -maxDate || ms > maxDate || when.Unix() < -maxDate/1000 || when.Unix() > maxDate/1000 {
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
