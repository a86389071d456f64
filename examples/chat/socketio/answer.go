package socketio

import "context"

// Answer returns a function that acknowledges an event with the result of f for the event's first argument:
//
//	"rename": socketio.Answer(func(ctx context.Context, s *socketio.Socket, name string) (map[string]any, error) { … })
//
// The argument is stored like Event.Bind, and is zero if the event has none. Further arguments are ignored. The
// acknowledgement is {"ok": false, "error": text} if the argument does not fit T, if f returns an error, or if the
// result cannot be encoded. Return errors that clients may read.
//
// f runs also if the client does not wait for an acknowledgement. With Async(Answer(f)) it runs concurrently with
// later events. A result of type Later is computed concurrently with them.
func Answer[T, R any](f func(ctx context.Context, s *Socket, arg T) (R, error)) EventFunc {
	return func(ctx context.Context, s *Socket, e *Event) {
		var arg T
		if len(e.Args) > 0 {
			if err := e.Bind(&arg); err != nil {
				e.answer(nil, err)
				return
			}
		}
		result, err := f(ctx, s, arg)
		if later, is := any(result).(Later); is && later != nil && err == nil {
			s.Go(func(ctx context.Context) { e.answer(later(ctx)) })
			return
		}
		e.answer(result, err)
	}
}

// Later is a result of a function passed to Answer that takes time. Socket.Go calls it, concurrently with later
// events, and its result is the acknowledgement.
type Later func(ctx context.Context) (any, error)

func (e *Event) answer(result any, err error) {
	if err == nil {
		err = e.Ack(result)
	}
	if err != nil {
		e.Ack(map[string]any{"ok": false, "error": err.Error()})
	}
}
