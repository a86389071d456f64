// Package nilcontext calls methods with a nil context in tests.
package nilcontext

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Call calls each method of v whose first parameter is a context, with zero arguments, and passes its error to check:
// the last result, or the error at the end of a loop. A method that panics fails the test.
func Call(t testing.TB, v any, check func(method string, err error)) {
	t.Helper()
	r := reflect.ValueOf(v)
	called := 0
	for i := range r.NumMethod() {
		m, name := r.Method(i), r.Type().String()+"."+r.Type().Method(i).Name
		if m.Type().NumIn() == 0 || m.Type().In(0) != reflect.TypeFor[context.Context]() {
			continue
		}
		var args []reflect.Value
		for k := range m.Type().NumIn() {
			if !m.Type().IsVariadic() || k < m.Type().NumIn()-1 {
				args = append(args, reflect.Zero(m.Type().In(k)))
			}
		}
		require.NotPanics(t, func() {
			out := m.Call(args)
			check(name, lastError(out[len(out)-1]))
		}, name)
		called++
	}
	assert.Positive(t, called, "methods of %T with a context", v)
}

func lastError(result reflect.Value) (err error) {
	if result.Kind() != reflect.Func {
		err, _ = result.Interface().(error)
		return err
	}
	for _, e := range result.Seq2() {
		err, _ = e.Interface().(error)
	}
	return err
}
