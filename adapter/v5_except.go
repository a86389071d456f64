package adapter

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossroom/crossroom/backplane"
)

// ExceptError says that a broadcast was not sent to servers of generation v5, which can
// leave out single sockets only, because not all of them said which of their sockets are
// in the rooms that are to be left out.
type ExceptError struct {
	Rooms []string
	// Err is a *PartialError, or why they could not be asked.
	Err error
}

func (e *ExceptError) Error() string {
	return fmt.Sprintf("adapter: sockets in %.300q, to be left out: %v", e.Rooms, e.Err)
}

func (e *ExceptError) Unwrap() error { return e.Err }

// exceptV5 returns what is to be left out in the form that servers of v5 understand: with
// the ids of their sockets that are in the rooms [PROTOCOL 4]. They are asked unless all
// rooms are named as sockets are. Other errors than a context's are an *ExceptError.
func (l leg) exceptV5(ctx context.Context, except []string) ([]string, error) {
	var rooms []string
	for _, room := range except {
		if !namesSocket(room) {
			rooms = append(rooms, room)
		}
	}
	if len(rooms) == 0 {
		return except, nil
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	list, err := l.ns.Members(ctx, backplane.Target{Rooms: rooms, RemoteOnly: true})
	if err != nil {
		return nil, &ExceptError{Rooms: rooms, Err: err}
	}
	out := make([]string, len(except), len(except)+len(list.List))
	copy(out, except)
	for _, m := range list.List {
		if m.Node == "" { // Go nodes know their rooms
			out = append(out, m.ID)
		}
	}
	return out, nil
}

// namesSocket reports whether a room has a name like a socket's own room: 20 letters,
// digits, - and _, in v5 behind a namespace and #.
func namesSocket(room string) bool {
	id := room[strings.LastIndexByte(room, '#')+1:]
	if len(id) != 20 || len(id) < len(room) && room[0] != '/' {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
