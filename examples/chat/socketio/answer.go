package socketio

import "context"

// Answer returns a function that acknowledges an event with what f makes of its first
// argument:
//
//	"rename": socketio.Answer(func(ctx context.Context, s *socketio.Socket, name string) (map[string]any, error) { … })
//
// The argument is stored as Event.Bind does, and is zero if there is none. If it does not
// fit T, or if f returns an error, the answer is {"ok": false, "error": text}: return
// errors that clients may read. So it is if the result cannot be encoded. Further
// arguments are ignored.
//
// f runs also if the client does not wait for an answer. With Async(Answer(f)) it runs
// beside the events that follow, and a result of type Later is worked out beside them.
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

// Later is a result of a function given to Answer that takes time: it is called by
// Socket.Go, beside the events that follow, and the answer is what it returns.
type Later func(ctx context.Context) (any, error)

func (e *Event) answer(result any, err error) {
	if err == nil {
		err = e.Ack(result)
	}
	if err != nil {
		e.Ack(map[string]any{"ok": false, "error": err.Error()})
	}
}
