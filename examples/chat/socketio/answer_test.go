package socketio_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// expectError reads an acknowledgement that is an error, whatever its text.
func (c *client) expectError(head string) {
	c.t.Helper()
	got := c.read()
	require.True(c.t, strings.HasPrefix(got, head+`[{"error":"`), "got %.300s, want an error as answer %s", got, head)
	require.True(c.t, strings.HasSuffix(got, `","ok":false}]`), "got %.300s, want an error as answer %s", got, head)
}

// The result of the function is the acknowledgement. So are errors, of the function and of the argument.
func TestAnswer(t *testing.T) {
	calls := 0
	s := newServerOn(t, nil, map[string]socketio.EventFunc{
		"greet": socketio.Answer(func(_ context.Context, _ *socketio.Socket, name string) (map[string]any, error) {
			calls++
			if name == "" {
				return nil, errors.New("no name")
			}
			return map[string]any{"ok": true, "text": "hello " + name}, nil
		}),
		"bad": socketio.Answer(func(context.Context, *socketio.Socket, any) (any, error) { return make(chan int), nil }),
	})
	c, _ := s.enter(t)
	for _, x := range []struct{ say, answer string }{
		{`421["greet","ada"]`, `431[{"ok":true,"text":"hello ada"}]`},
		{`422["greet","ada","and more"]`, `432[{"ok":true,"text":"hello ada"}]`},
		{`423["greet"]`, `433[{"error":"no name","ok":false}]`},
	} {
		c.send(x.say)
		c.expect(x.answer)
	}
	c.send(`42["greet","silently"]`)
	c.send(`424["greet",{}]`) // f is not called
	c.expectError("434")
	c.send(`425["bad"]`)
	c.expectError("435")
	assert.Equal(t, 4, calls, "calls")
}

// A Later delays no event; its function has finished its first part before the next event.
func TestLater(t *testing.T) {
	entered, release := false, make(chan struct{})
	s := newServerOn(t, nil, map[string]socketio.EventFunc{
		"enter": socketio.Answer(func(_ context.Context, _ *socketio.Socket, err string) (socketio.Later, error) {
			entered = true
			later := func(context.Context) (any, error) {
				<-release
				return "welcome", nil
			}
			switch err {
			case "now":
				return later, errors.New("closed")
			case "later":
				return func(context.Context) (any, error) { <-release; return nil, errors.New("lost") }, nil
			}
			return later, nil
		}),
		"entered": socketio.Answer(func(context.Context, *socketio.Socket, any) (bool, error) { return entered, nil }),
		"none":    socketio.Answer(func(context.Context, *socketio.Socket, any) (socketio.Later, error) { return nil, nil }),
	})
	c, _ := s.enter(t)
	c.send(`421["enter"]`)
	c.send(`422["entered"]`)
	c.expect(`432[true]`)
	c.send(`423["enter","now"]`)
	c.expect(`433[{"error":"closed","ok":false}]`)
	release <- struct{}{}
	c.expect(`431["welcome"]`)
	c.send(`424["enter","later"]`)
	release <- struct{}{}
	c.expect(`434[{"error":"lost","ok":false}]`)
	c.send(`425["none"]`)
	c.expectError("435")
}
