package msgpack

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// Raw is an encoded value. AppendValue checks its structure and copies it.
type Raw []byte

// AppendValue appends a Go value, in the shape of encoding/json: structs by their json tags (a name, "-", omitempty,
// omitzero, string), embedded structs, maps with sorted keys, json.Marshaler and encoding.TextMarshaler, nil pointers,
// slices and maps as nil. It differs where MessagePack can do more:
//
//   - []byte and byte arrays are binary data.
//   - time.Time is a date; it must be one that JavaScript can represent.
//   - Numbers are written like AppendNumber, NaN and infinities unchanged.
//   - Raw and Ext are written unchanged.
//
// Strings must be valid UTF-8. The traits are those that Check finds in out, at a depth that leaves room for an
// envelope. The error is a *ValueError, also for functions, channels, complex numbers and values nested deeper than
// ValueDepth, such as cyclic ones. dst is then returned unchanged.
func AppendValue(dst []byte, v any) (out []byte, traits Traits, err error) {
	e := encoder{dst: dst}
	if err := e.any(v, envelope); err != nil {
		return dst, 0, err
	}
	return e.dst, e.traits, nil
}

type encoder struct {
	dst    []byte
	traits Traits
}

func refuse(v any, reason string) error {
	return &ValueError{Type: fmt.Sprintf("%T", v), Reason: reason}
}

// any encodes the types that need no reflection.
func (e *encoder) any(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		e.dst = AppendNil(e.dst)
	case bool:
		e.dst = AppendBool(e.dst, v)
	case string:
		return e.string(v)
	case int:
		e.dst = AppendInt(e.dst, int64(v))
	case int64:
		e.dst = AppendInt(e.dst, v)
	case float64:
		e.dst = AppendNumber(e.dst, v)
	case []byte:
		e.bytes(v)
	case time.Time:
		return e.time(v)
	case []any:
		return e.slice(v, depth)
	case map[string]any:
		return e.object(v, depth)
	case Raw:
		return e.raw(v, depth)
	case Ext:
		start := len(e.dst)
		e.dst = AppendExt(e.dst, v)
		return e.check(start, depth)
	case json.Number:
		return e.number(v)
	case json.RawMessage:
		return e.json(v, v, nil, depth)
	default:
		return e.value(reflect.ValueOf(v), depth)
	}
	return nil
}

func (e *encoder) string(s string) error {
	if !utf8.ValidString(s) {
		return refuse(s, "not valid UTF-8")
	}
	e.dst = AppendString(e.dst, s)
	return nil
}

func (e *encoder) bytes(v []byte) {
	if v == nil {
		e.dst = AppendNil(e.dst)
		return
	}
	e.traits |= HasBinary
	e.dst = AppendBytes(e.dst, v)
}

// check records the traits of the bytes appended from start on.
func (e *encoder) check(start, depth int) error {
	traits, err := Check(e.dst[start:], depth)
	e.traits |= traits
	return err
}

// key encodes the key of a map. at is the offset of its value.
func (e *encoder) key(k string) (at int, err error) {
	err = e.string(k)
	return len(e.dst), err
}

// entry records the traits of a key whose value was encoded.
func (e *encoder) entry(k string, at int) { e.traits |= keyTraits(k, e.dst[at]) }

func (e *encoder) time(t time.Time) error {
	if sec := t.Unix(); sec < -maxDate/1000 || sec > maxDate/1000 || t.UnixMilli() > maxDate {
		return refuse(t, "not a date of JavaScript")
	}
	e.dst = AppendTime(e.dst, t)
	return nil
}

func (e *encoder) raw(v Raw, depth int) error {
	if len(v) == 0 {
		e.dst = AppendNil(e.dst)
		return nil
	}
	traits, err := Check(v, depth)
	if err != nil {
		return &ValueError{Type: "msgpack.Raw", Reason: "malformed", Err: err}
	}
	e.traits |= traits
	e.dst = append(e.dst, v...)
	return nil
}

func (e *encoder) number(n json.Number) error {
	if n == "" { // encoding/json treats it as zero
		n = "0"
	}
	v, err := jsonscan.Parse([]byte(n))
	if err != nil || v.Kind() != jsonscan.Number || len(v.Raw()) != len(n) {
		return refuse(n, "not a number")
	}
	e.dst = appendJSONNumber(e.dst, v)
	return nil
}

// json encodes JSON text, the encoding of v.
func (e *encoder) json(v any, text []byte, err error, depth int) error {
	if err == nil && text == nil {
		text = []byte("null")
	}
	start := len(e.dst)
	if err == nil {
		e.dst, err = fromJSON(e.dst, text, MaxDepth-depth)
	}
	if err != nil {
		return &ValueError{Type: fmt.Sprintf("%T", v), Reason: "not valid JSON", Err: err}
	}
	return e.check(start, depth)
}

const tooDeep = "nested too deep or cyclic"

func (e *encoder) slice(v []any, depth int) error {
	if v == nil {
		e.dst = AppendNil(e.dst)
		return nil
	}
	if depth == MaxDepth {
		return refuse(v, tooDeep)
	}
	e.dst = AppendArrayLen(e.dst, len(v))
	for _, elem := range v {
		if err := e.any(elem, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) object(v map[string]any, depth int) error {
	if v == nil {
		e.dst = AppendNil(e.dst)
		return nil
	}
	if depth == MaxDepth {
		return refuse(v, tooDeep)
	}
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.dst = AppendMapLen(e.dst, len(v))
	for _, k := range keys {
		at, err := e.key(k)
		if err != nil {
			return err
		}
		if err := e.any(v[k], depth+1); err != nil {
			return err
		}
		e.entry(k, at)
	}
	return nil
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	timeType      = reflect.TypeFor[time.Time]()
	timePointer   = reflect.TypeFor[*time.Time]()
)

// value encodes by reflection the types that any does not cover.
func (e *encoder) value(v reflect.Value, depth int) error {
	switch k := v.Kind(); {
	case (k == reflect.Pointer || k == reflect.Interface) && v.IsNil():
		e.dst = AppendNil(e.dst)
		return nil
	case k == reflect.Interface:
		return e.any(v.Elem().Interface(), depth)
	}
	if done, err := e.special(v, depth); done {
		return err
	}
	switch v.Kind() {
	case reflect.Bool:
		e.dst = AppendBool(e.dst, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.dst = AppendInt(e.dst, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.dst = AppendUint(e.dst, v.Uint())
	case reflect.Float32:
		e.dst = AppendNumber(e.dst, widen(float32(v.Float())))
	case reflect.Float64:
		e.dst = AppendNumber(e.dst, v.Float())
	case reflect.String:
		return e.string(v.String())
	case reflect.Pointer:
		if depth == MaxDepth {
			return refuse(v.Interface(), tooDeep)
		}
		return e.value(v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return e.list(v, depth)
	case reflect.Map:
		return e.mapping(v, depth)
	case reflect.Struct:
		return e.record(v, depth)
	default:
		return refuse(v.Interface(), "no such type on the wire")
	}
	return nil
}

// widen returns the number that encoding/json writes for f: 0.1 and not 0.10000000149011612.
func widen(f float32) float64 {
	var buf [32]byte
	wide, err := strconv.ParseFloat(string(strconv.AppendFloat(buf[:0], float64(f), 'g', -1, 32)), 64)
	if err != nil {
		return float64(f)
	}
	return wide
}

// special encodes values of types with their own encoding, or that this package knows.
func (e *encoder) special(v reflect.Value, depth int) (done bool, err error) {
	t := v.Type()
	if k := t.Kind(); t.PkgPath() == "" && k != reflect.Pointer && k != reflect.Struct {
		return false, nil // a type without methods
	}
	switch t {
	case timeType, reflect.TypeFor[Raw](), reflect.TypeFor[Ext](), reflect.TypeFor[json.Number](), reflect.TypeFor[json.RawMessage]():
		return true, e.any(v.Interface(), depth)
	case timePointer:
		return false, nil // a date, not the text of its methods
	}
	if m, ok := methods(v, jsonMarshaler); ok {
		m := m.(json.Marshaler)
		text, err := m.MarshalJSON()
		return true, e.json(m, text, err, depth)
	}
	if m, ok := methods(v, textMarshaler); ok {
		s, err := marshalText(m.(encoding.TextMarshaler))
		if err != nil {
			return true, err
		}
		return true, e.string(s)
	}
	return false, nil
}

// methods returns v, or its address if that has the methods of iface, as an interface's dynamic value.
func methods(v reflect.Value, iface reflect.Type) (any, bool) {
	t := v.Type()
	if t.Implements(iface) {
		return v.Interface(), true
	}
	if t.Kind() != reflect.Pointer && v.CanAddr() && reflect.PointerTo(t).Implements(iface) {
		return v.Addr().Interface(), true
	}
	return nil, false
}

func marshalText(m encoding.TextMarshaler) (string, error) {
	b, err := m.MarshalText()
	if err != nil {
		return "", &ValueError{Type: fmt.Sprintf("%T", m), Reason: "MarshalText", Err: err}
	}
	return string(b), nil
}

func (e *encoder) list(v reflect.Value, depth int) error {
	if v.Kind() == reflect.Slice && v.IsNil() {
		e.dst = AppendNil(e.dst)
		return nil
	}
	n := v.Len()
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.traits |= HasBinary
		if v.Kind() == reflect.Slice {
			e.dst = AppendBytes(e.dst, v.Bytes())
			return nil
		}
		b := make([]byte, n)
		reflect.Copy(reflect.ValueOf(b), v)
		e.dst = AppendBytes(e.dst, b)
		return nil
	}
	if depth == MaxDepth {
		return refuse(v.Interface(), tooDeep)
	}
	e.dst = AppendArrayLen(e.dst, n)
	for i := range n {
		if err := e.value(v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) mapping(v reflect.Value, depth int) error {
	if v.IsNil() {
		e.dst = AppendNil(e.dst)
		return nil
	}
	if depth == MaxDepth {
		return refuse(v.Interface(), tooDeep)
	}
	type entry struct {
		key   string
		value reflect.Value
	}
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		k, err := mapKey(it.Key())
		if err != nil {
			return err
		}
		entries = append(entries, entry{k, it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	e.dst = AppendMapLen(e.dst, len(entries))
	for _, entry := range entries {
		at, err := e.key(entry.key)
		if err != nil {
			return err
		}
		if err := e.value(entry.value, depth+1); err != nil {
			return err
		}
		e.entry(entry.key, at)
	}
	return nil
}

func mapKey(k reflect.Value) (string, error) {
	switch {
	case k.Kind() == reflect.String:
		return k.String(), nil
	case k.Type().Implements(textMarshaler):
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		return marshalText(k.Interface().(encoding.TextMarshaler))
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", refuse(k.Interface(), "not a type for keys")
}
