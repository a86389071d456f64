package adapter_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// effects lists all effects of a request, in a form that leaves out the differences between
// servers.
type effects struct {
	Got          map[string][]arrival
	Joined, Left map[string][]string
	Gone         map[string]bool
	Answers      []string
	Events       []string
}

// TestReadRequests compares a node with the real servers. A request on which they crash, or
// which they ignore, has no effect and gets no response.
func TestReadRequests(t *testing.T) {
	list, outcomes := readReadings(t, "request")
	require.GreaterOrEqual(t, len(list), 500, "readings")
	bubble(t, func(t *testing.T) {
		var s *scene
		for i := range list {
			r := &list[i]
			if s == nil {
				s = newScene(t, r.Nsp, adapter.Options{})
			}
			before := s.dropped()
			s.publish(t, r)
			got, want := s.effects(t), r.followed(outcomes).effects(t)
			if strings.Contains(r.Name, "with ack") && len(want.Events)+len(want.Answers) == 0 && len(got.Answers) == 1 && !strings.Contains(got.Answers[0], "data") {
				got.Answers = nil // a node without a handler responds (OnServerSideEmit)
			}
			assert.Equal(t, want, got, "%s: %q", r.Name, r.Payload)
			if dropped := s.dropped() - before; r.followed(outcomes).Dies != "" && dropped != 1 {
				t.Errorf("%s: %q: %d counted as dropped", r.Name, r.Payload, dropped)
			}
			if len(got.Joined)+len(got.Left)+len(got.Gone) > 0 {
				s.reset(t)
			}
		}
	})
}

// effects returns the effects at the node since the last call.
func (s *scene) effects(t *testing.T) (e effects) {
	t.Helper()
	synctest.Wait()
	e.Got = s.arrivals(t)
	e.Joined, e.Left, e.Gone = map[string][]string{}, map[string][]string{}, map[string]bool{}
	for name, usual := range readingRooms {
		rooms := roomsOf(s.ns, "id-"+name)
		usual = append(usual[:len(usual):len(usual)], "id-"+name)
		if list := without(rooms, usual); len(list) > 0 {
			e.Joined[name] = list
		}
		if list := without(usual, rooms); len(list) > 0 {
			e.Left[name] = list
		}
		for socket := s.sockets[name]; len(socket.ended) > 0; {
			e.Gone[name] = <-socket.ended
		}
	}
	for _, text := range s.heard.take() {
		e.Answers = append(e.Answers, answerText(t, []byte(text)))
	}
	s.mu.Lock()
	for _, event := range s.events {
		e.Events = append(e.Events, textJSON(event))
	}
	s.events = nil
	s.mu.Unlock()
	slices.Sort(e.Answers)
	slices.Sort(e.Events)
	return e
}

func without(list, others []string) (left []string) {
	for _, s := range list {
		if !slices.Contains(others, s) {
			left = append(left, s)
		}
	}
	slices.Sort(left)
	return left
}

// effects returns the expected effects.
func (o *outcome) effects(t *testing.T) (e effects) {
	t.Helper()
	e.Got = o.wanted()
	e.Joined, e.Left, e.Gone = map[string][]string{}, map[string][]string{}, map[string]bool{}
	if o.Dies != "" {
		return e
	}
	texts := func(in map[string][]any, out map[string][]string) {
		for name, list := range in {
			if rooms := roomTexts(list); len(rooms) > 0 {
				out[name] = rooms
			}
		}
	}
	texts(o.Joined, e.Joined)
	texts(o.Left, e.Left)
	for name, closed := range o.Gone {
		e.Gone[name] = closed
	}
	for _, p := range o.Published {
		v := p.JSON
		if v == nil {
			v = p.Msgpack
		}
		m := v.(map[string]any)
		if m["type"] == float64(8) && len(e.Got) == 0 && m["clientCount"] != float64(0) {
			return effects{Got: e.Got, Joined: e.Joined, Left: e.Left, Gone: e.Gone} // clients disconnect
		}
		if text := commonText(m); text != "" {
			e.Answers = append(e.Answers, text)
		}
	}
	for _, event := range o.Events {
		if event["event"] == "undefined" {
			continue // it has no event
		}
		if hook, is := event["hook"].(map[string]any); is && hook["$"] != nil {
			event["hook"] = nil // undefined, which Go does not have
		}
		e.Events = append(e.Events, textJSON(event))
	}
	slices.Sort(e.Answers)
	slices.Sort(e.Events)
	return e
}

// roomTexts returns the rooms of a list that are valid here.
func roomTexts(list []any) (rooms []string) {
	for _, r := range list {
		switch r := r.(type) {
		case string:
			rooms = append(rooms, r)
		case float64:
			rooms = append(rooms, scriptText(r))
		}
	}
	slices.Sort(rooms)
	return slices.Compact(rooms)
}

// answerText returns a response of the node, JSON or msgpack, as text.
func answerText(t *testing.T, payload []byte) string {
	t.Helper()
	if payload[0] != '{' {
		text, err := msgpack.AppendJSON(nil, payload, nil)
		ok(t, err)
		payload = text
	}
	var m map[string]any
	ok(t, json.Unmarshal(payload, &m))
	return commonText(m)
}

// commonText returns a response without the differences between servers: the order of lists,
// fields of sockets other than ids and rooms, and rooms as numbers. It returns "" for a
// response that no request can match.
func commonText(m map[string]any) string {
	id, ok := m["requestId"]
	if v, ok5 := m["requestid"]; ok5 {
		id, ok = v, true
	}
	if !ok || reflect.DeepEqual(id, map[string]any{"$": "undefined"}) {
		return ""
	}
	for _, key := range []string{"sockets", "clients"} {
		list, is := m[key].([]any)
		if !is {
			continue
		}
		var all []string
		for _, s := range list {
			if o, is := s.(map[string]any); is {
				all = append(all, fmt.Sprint(o["id"], roomTexts(o["rooms"].([]any))))
			} else {
				all = append(all, fmt.Sprint(s))
			}
		}
		slices.Sort(all)
		m[key] = all
	}
	if list, is := m["rooms"].([]any); is {
		rooms := roomTexts(list)
		m["rooms"] = rooms
	}
	return textJSON(m)
}

func textJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
