package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Undefined is JavaScript's undefined. A client never receives it, but an operation can result in
// it.
type Undefined struct{}

// Text returns a value in the notation of node/values.js: JSON, in which an object with one key
// such as "$bin" stands for a value that JSON does not have. Equal values have equal texts: numbers
// are compared as JavaScript numbers, and maps by key.
func Text(v any) string {
	tagged, err := tag(v)
	if err != nil {
		return fmt.Sprintf("%#v (%v)", v, err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tagged); err != nil {
		return fmt.Sprintf("%#v (%v)", v, err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// tag replaces the values that JSON does not have.
func tag(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, json.Number:
		return v, nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case float64:
		switch {
		case math.IsNaN(v):
			return map[string]any{"$float": "NaN"}, nil
		case math.IsInf(v, 1):
			return map[string]any{"$float": "Infinity"}, nil
		case math.IsInf(v, -1):
			return map[string]any{"$float": "-Infinity"}, nil
		case v == 0 && math.Signbit(v):
			return map[string]any{"$float": "-0"}, nil
		}
		return v, nil
	case []byte:
		return map[string]any{"$bin": base64.StdEncoding.EncodeToString(v)}, nil
	case time.Time:
		return map[string]any{"$date": strconv.FormatInt(v.UnixMilli(), 10)}, nil
	case Undefined:
		return map[string]any{"$undefined": true}, nil
	case []string:
		return v, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = tag(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			var err error
			if out[k], err = tag(v[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("interop: no notation for %T", v)
}

// Parse reads the text of Text and node/values.js. Values are nil, bool, float64, string, []byte,
// time.Time, Undefined, []any and map[string]any; integers beyond the range of float64 are
// json.Number.
func Parse(text []byte) (any, error) {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("interop: %w", err)
	}
	return untag(v)
}

func untag(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = untag(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if len(v) == 1 {
			for k, x := range v {
				if s, ok := x.(string); ok && k != "" && k[0] == '$' {
					return untagOne(k, s)
				}
			}
			if v["$undefined"] == true {
				return Undefined{}, nil
			}
		}
		for k := range v {
			if v[k], err = untag(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func untagOne(kind, s string) (any, error) {
	switch kind {
	case "$bin":
		return base64.StdEncoding.DecodeString(s)
	case "$date":
		ms, err := strconv.ParseInt(s, 10, 64)
		return time.UnixMilli(ms).UTC(), err
	case "$int":
		return json.Number(s), nil
	case "$float":
		if s == "-0" {
			return math.Copysign(0, -1), nil
		}
		return strconv.ParseFloat(s, 64)
	}
	return map[string]any{kind: s}, nil
}
