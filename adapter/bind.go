package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

var errNoArgument = errors.New("there is no such argument")

// BindArgs stores arguments in the variables to which dst points, by the rules of Packet.Bind. args are those of a
// ServerEvent, or Acks.Values, or those of a client's event, decoded by encoding/json, with binary attachments as []byte.
func BindArgs(args []any, dst ...any) error {
	for i, d := range dst {
		if d == nil {
			continue
		}
		if i >= len(args) {
			return &ArgumentError{Index: i, Err: errNoArgument}
		}
		if err := bindValue(d, args[i]); err != nil {
			return &ArgumentError{Index: i, Err: err}
		}
	}
	return nil
}

// bindValue stores v, the result of msgpack.Decode or encoding/json, in what dst points to. Types that need no
// conversion are stored directly. The others are converted through JSON, whose rules Go programmers know.
func bindValue(dst, v any) error {
	if p := reflect.ValueOf(dst); p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("cannot store into %T: not a pointer, or nil", dst)
	}
	switch d := dst.(type) {
	case *any:
		*d = v
		return nil
	case *string:
		if s, ok := v.(string); ok {
			*d = s
			return nil
		}
	case *[]byte:
		if b, ok := v.([]byte); ok {
			*d = append([]byte(nil), b...)
			return nil
		}
		if b, ok := bufferOf(v); ok {
			*d = b
			return nil
		}
	case *bool:
		if b, ok := v.(bool); ok {
			*d = b
			return nil
		}
	case *int:
		if n, ok := v.(int64); ok && int64(int(n)) == n {
			*d = int(n)
			return nil
		}
	case *int64:
		if n, ok := v.(int64); ok {
			*d = n
			return nil
		}
	case *float64:
		switch n := v.(type) {
		case float64:
			*d = n
			return nil
		case int64:
			*d = float64(n)
			return nil
		}
	case *time.Time:
		if t, ok := v.(time.Time); ok {
			*d = t
			return nil
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%T has no form that fits %T: %w", v, dst, err)
	}
	return json.Unmarshal(text, dst)
}

// bufferOf reads the form of binary data in JSON of Node.js.
func bufferOf(v any) ([]byte, bool) {
	m, _ := v.(map[string]any)
	list, ok := m["data"].([]any)
	if !ok || m["type"] != "Buffer" {
		return nil, false
	}
	b := make([]byte, len(list))
	for i, v := range list {
		n, ok := v.(float64)
		if b[i] = byte(n); !ok || float64(b[i]) != n {
			return nil, false
		}
	}
	return b, true
}
