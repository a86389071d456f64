package lifecycle

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Log logs how the connections of a broker are lost and made again. While something watches the broker, such as a node,
// which logs an outage in a line of its own when it begins and one when it ends, these lines are at level debug.
type Log struct {
	To      *slog.Logger
	watches atomic.Int32
	// Down: a subscription is interrupted, so that what watches the broker logs an outage.
	Down atomic.Bool
}

// Watch begins a watch, which ends when stop is called.
func (l *Log) Watch() (stop func()) {
	l.watches.Add(1)
	return sync.OnceFunc(func() { l.watches.Add(-1) })
}

// Watched reports whether something watches the broker.
func (l *Log) Watched() bool { return l.watches.Load() > 0 }

// Warn logs a lost connection.
func (l *Log) Warn(text string, args ...any) { l.log(slog.LevelWarn, text, args) }

// Info logs a connection.
func (l *Log) Info(text string, args ...any) { l.log(slog.LevelInfo, text, args) }

func (l *Log) log(at slog.Level, text string, args []any) {
	if l.Watched() {
		at = slog.LevelDebug
	}
	l.To.Log(context.Background(), at, text, args...)
}
