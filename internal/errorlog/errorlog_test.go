package errorlog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/errorlog"
)

var errPanic = errors.New("callback panicked")

func stackOf(err error) []byte {
	if err == errPanic {
		return []byte("the stack")
	}
	return nil
}

func textLogger(to io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

func setDefault(t *testing.T) *bytes.Buffer {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(textLogger(&log))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &log
}

// TestWhoGetsAnError: each combination of a logger and a function.
func TestWhoGetsAnError(t *testing.T) {
	for name, c := range map[string]struct{ logger, onError, byDefault bool }{
		"neither": {false, false, true}, "logger": {true, false, false}, "function": {false, true, false}, "both": {true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			standard := setDefault(t)
			var own bytes.Buffer
			var logger *slog.Logger
			var onError func(context.Context, error)
			var got []error
			if c.logger {
				logger = textLogger(&own)
			}
			if c.onError {
				onError = func(_ context.Context, err error) { got = append(got, err) }
			}
			sink := errorlog.New("backplane", logger, onError, stackOf)
			assert.True(t, sink.Handle(t.Context(), io.EOF))
			assert.Equal(t, c.byDefault, standard.Len() > 0, "slog.Default: %s", standard)
			assert.Equal(t, c.logger, own.Len() > 0, "Logger: %s", &own)
			assert.Equal(t, c.onError, len(got) == 1, "OnError")
		})
	}
}

func TestPanicsAreLoggedWithTheirStack(t *testing.T) {
	log := setDefault(t)
	sink := errorlog.New("backplane", nil, nil, stackOf)
	sink.Handle(t.Context(), io.EOF)
	assert.Contains(t, log.String(), "level=WARN")
	log.Reset()
	sink.Handle(t.Context(), errPanic)
	assert.Contains(t, log.String(), "level=ERROR")
	assert.Contains(t, log.String(), `stack="the stack"`)
}

// TestHandlersThatPanic: the panic of OnError is logged, and that of a logger ends nothing.
func TestHandlersThatPanic(t *testing.T) {
	log := setDefault(t)
	sink := errorlog.New("backplane", nil, func(context.Context, error) { panic("own fault") }, stackOf)
	assert.False(t, sink.Handle(t.Context(), io.EOF))
	assert.Contains(t, log.String(), "own fault")
	assert.Contains(t, log.String(), "level=ERROR")
	var got []error
	sink = errorlog.New("backplane", slog.New(faulty{}), func(_ context.Context, err error) { got = append(got, err) }, stackOf)
	assert.False(t, sink.Handle(t.Context(), io.EOF))
	assert.Equal(t, []error{io.EOF}, got, "OnError after the panic of the logger")
}

type faulty struct{ slog.Handler }

func (faulty) Enabled(context.Context, slog.Level) bool { panic("handler") }
