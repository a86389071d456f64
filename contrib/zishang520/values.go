package zishang520

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/zishang520/socket.io/v3/pkg/types"
)

// outgoing returns args with the server's binary types as []byte and its text types as string. Readers
// are read and closed, as the server's parser does. With plain, everything else has the form
// that encoding/json gives it, as clients of the server's own parser get it. args is not
// changed. It is returned itself if no value differs.
func outgoing(args []any, plain bool) ([]any, error) {
	out := args
	for i, v := range args {
		w, changed, err := outgoingValue(v, plain)
		if err != nil {
			return nil, fmt.Errorf("zishang520: argument %d: %w", i, err)
		}
		if changed {
			if &out[0] == &args[0] {
				out = append([]any(nil), args...)
			}
			out[i] = w
		}
	}
	return out, nil
}

func outgoingValue(v any, plain bool) (out any, changed bool, err error) {
	switch v := v.(type) {
	case nil, bool, string, []byte, float64, float32, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, time.Time:
		return v, false, nil
	case []any:
		if len(v) == 0 {
			return v, false, nil
		}
		list, err := outgoing(v, plain)
		return list, err == nil && &list[0] != &v[0], err
	case map[string]any:
		var own map[string]any
		for k, x := range v {
			w, changed, err := outgoingValue(x, plain)
			if err != nil {
				return nil, false, err
			}
			if changed {
				if own == nil {
					own = make(map[string]any, len(v))
					for k, x := range v {
						own[k] = x
					}
				}
				own[k] = w
			}
		}
		if own != nil {
			return own, true, nil
		}
		return v, false, nil
	case *types.StringBuffer:
		return string(v.Bytes()), true, nil
	case *strings.Reader:
		text, err := io.ReadAll(v)
		return string(text), true, err
	case io.Reader:
		if reflect.ValueOf(v).Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil() {
			return nil, true, nil
		}
		if c, ok := v.(io.Closer); ok {
			defer c.Close()
		}
		data, err := io.ReadAll(v)
		return data, true, err
	}
	if !plain {
		return v, false, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, false, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&out)
	return out, true, err
}

// incoming returns a value of another server's client in the types that the server's parser makes of values
// from its own clients.
func incoming(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case []byte:
		return types.NewBytesBuffer(v)
	case time.Time:
		return isoTime(v)
	case []any:
		return eachIn(v, incoming)
	case map[string]any:
		return eachOf(v, incoming)
	}
	return v
}

// sendable returns a value of another server's broadcast in the form that the server's own parser accepts:
// clients get dates as JavaScript writes them, and null for numbers that JSON does not have.
func sendable(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case time.Time:
		return isoTime(v)
	case []any:
		return eachIn(v, sendable)
	case map[string]any:
		return eachOf(v, sendable)
	}
	return v
}

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func eachIn(list []any, f func(any) any) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func eachOf(m map[string]any, f func(any) any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = f(v)
	}
	return out
}
