package hub

import (
	"context"
	"encoding/json"
)

// OnJSON returns a function for Options.OnMessage that decodes messages from JSON and calls f with them. A message that is
// not JSON of a T, or binary, closes the connection with 1007.
func OnJSON[T any](f func(ctx context.Context, c *Conn, v T) error) func(context.Context, *Conn, Message) error {
	return func(ctx context.Context, c *Conn, m Message) error {
		var v T
		if m.Binary {
			return &CloseError{Code: codeInvalid, Reason: "the message is not JSON"}
		}
		if err := json.Unmarshal(m.Data, &v); err != nil {
			return &CloseError{Code: codeInvalid, Reason: "the message is not the expected JSON", Err: err}
		}
		return f(ctx, c, v)
	}
}
