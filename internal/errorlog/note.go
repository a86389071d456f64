package errorlog

import (
	"context"
	"log/slog"
)

// Note is a line for the log that goes the way of errors so that a flood becomes few lines. It is no
// error: functions of the application do not get it.
type Note struct {
	Level slog.Level
	Text  string
	Attrs []slog.Attr
	Cause string // notes of one cause become one
	More  int    // how many others became this one
}

func (n *Note) Error() string { return n.Text }

// Merged returns the note for this one and a later one.
func (n *Note) Merged() *Note {
	sum := *n
	sum.More++
	return &sum
}

func (s *Sink) note(ctx context.Context, n *Note) {
	attrs := n.Attrs
	if n.More > 0 {
		attrs = append(attrs[:len(attrs):len(attrs)], slog.Int("more", n.More))
	}
	s.logger.LogAttrs(ctx, n.Level, s.from+": "+n.Text, attrs...)
}
