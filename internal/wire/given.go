package wire

import (
	"context"
	"errors"
	"reflect"
)

// ErrNilContext is backplane.ErrNilContext.
var ErrNilContext = errors.New("the context is nil")

// ContextErr returns the error of an ended or missing context.
func ContextErr(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	return ctx.Err()
}

// IsNil reports whether an interface value is nil, or holds a nil pointer.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return r.IsNil()
	}
	return false
}
