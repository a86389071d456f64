package hub_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/internal/hubtest"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/outgoing"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

const patience = 30 * time.Second

func sse(h *hub.Hub) http.Handler { return h.SSE() }

// event is what EventSource makes of the lines of one event.
type event struct{ name, data, id string }

// source reads an event stream as the HTML standard says.
type source struct {
	*http.Response
	lines    *bufio.Scanner
	id       string
	retry    string
	comments atomic.Int64
}

func open(t testing.TB, client *http.Client, url string, head ...string) *source {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	res, err := client.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	return &source{Response: res, lines: lines}
}

// next returns the next event, and io.EOF at the proper end of the response.
func (s *source) next() (event, error) {
	e := event{name: "message"}
	var data []string
	for s.lines.Scan() {
		line := s.lines.Text()
		if line == "" {
			if data == nil {
				e.name = "message"
				continue
			}
			e.data, e.id = strings.Join(data, "\n"), s.id
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			s.comments.Add(1)
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		case "id":
			s.id = value
		case "retry":
			s.retry = value
		}
	}
	if err := s.lines.Err(); err != nil {
		return event{}, err
	}
	return event{}, io.EOF
}

func (s *source) want(t testing.TB, name, data, id string) {
	t.Helper()
	e, err := s.next()
	require.NoError(t, err)
	require.Equal(t, event{name, data, id}, e)
}

func welcome(_ context.Context, c *hub.Conn) error {
	return c.Send(hub.Message{Event: "welcome", Data: []byte(c.User())})
}

// TestStream: messages of every kind, over both versions of HTTP, on a server with short deadlines.
func TestStream(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.Start(t, 1, hub.Options{OnConnect: welcome, PingInterval: 20 * time.Millisecond}, sse)[0].Hub
			web := httptest.NewUnstartedServer(h.SSE())
			web.Config.ReadTimeout, web.Config.WriteTimeout = 250*time.Millisecond, 250*time.Millisecond
			if web.EnableHTTP2 = h2; h2 {
				web.StartTLS()
			} else {
				web.Start()
			}
			defer web.Close()
			s := open(t, web.Client(), web.URL+"?user=ada&room=a")
			defer s.Body.Close()
			assert.Equal(t, name, s.Proto)
			assert.Equal(t, "text/event-stream", s.Header.Get("Content-Type"))
			assert.Equal(t, "no-cache, no-transform", s.Header.Get("Cache-Control"))
			assert.Equal(t, "no", s.Header.Get("X-Accel-Buffering"))
			assert.Empty(t, s.Header.Get("Access-Control-Allow-Origin"))
			s.want(t, "welcome", "ada", "")
			assert.Regexp(t, `^[1-3]\d{3}$`, s.retry)
			for _, c := range []struct {
				m              hub.Message
				name, data, id string
			}{
				{hub.Text("plain"), "message", "plain", ""},
				{hub.Text(""), "message", "", ""},
				{hub.Text(" spaces : colons: "), "message", " spaces : colons: ", ""},
				{hub.Text("a\nb\r\nc\rd\n"), "message", "a\nb\nc\nd\n", ""},
				{hub.Text("data: x\n\nevent: forged\ndata: y"), "message", "data: x\n\nevent: forged\ndata: y", ""},
				{hub.Message{Event: "price", ID: "7", Data: []byte("3.20")}, "price", "3.20", "7"},
				{hub.Binary([]byte{0, 255}), "binary", base64.StdEncoding.EncodeToString([]byte{0, 255}), "7"},
				{hub.Message{Event: "picture", Binary: true, Data: []byte{1}}, "picture", "AQ==", "7"},
				{hub.Text(strings.Repeat("ü", 100_000)), "message", strings.Repeat("ü", 100_000), "7"},
			} {
				require.NoError(t, h.Send(t.Context(), hub.Room("a"), c.m))
				s.want(t, c.name, c.data, c.id)
			}
			time.AfterFunc(400*time.Millisecond, func() { h.SendJSON(context.Background(), hub.User("ada"), 1) }) // longer than the deadlines
			s.want(t, "message", "1", "7")
			assert.Positive(t, s.comments.Load(), "keep-alives")
			hubtest.Until(t, "it is counted without keep-alives", func() bool { return h.Stats().Sent == 11 })

			n, err := h.Kick(t.Context(), hub.User("ada"), 4001, "enough")
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			s.want(t, "close", `{"code":4001,"reason":"enough"}`, "7")
			_, err = s.next()
			assert.Equal(t, io.EOF, err, "the end of the response")
			hubtest.Until(t, "it is counted", func() bool { return h.Stats().Closed[4001] == 1 })
		})
	}
}

// TestResume: what a client gets that reconnects.
func TestResume(t *testing.T) {
	bug := errors.New("the store is down")
	for name, c := range map[string]struct {
		resume func(context.Context, *hub.Conn, string) ([]hub.Message, error)
		status int
		want   []event // before the welcome
	}{
		"no history": {nil, 200, []event{{"gap", `{"after":"6"}`, ""}}},
		"all of it": {func(_ context.Context, c *hub.Conn, last string) ([]hub.Message, error) {
			// A message that comes meanwhile is both in the history and live.
			h := c.Hub()
			seven, eight := hub.Message{ID: "7", Data: []byte("seven")}, hub.Message{ID: "8", Data: []byte("eight")}
			err := errors.Join(h.Send(context.Background(), hub.Room("a"), eight), h.Send(context.Background(), hub.Room("a"), hub.Message{ID: "9", Data: []byte("nine")}))
			return []hub.Message{seven, eight}, err
		}, 200, []event{{"message", "seven", "7"}, {"message", "eight", "8"}, {"message", "nine", "9"}}},
		"a part": {func(_ context.Context, _ *hub.Conn, last string) ([]hub.Message, error) {
			return []hub.Message{{ID: "9", Data: []byte("nine")}}, hub.ErrGap
		}, 200, []event{{"gap", `{"after":"6"}`, ""}, {"message", "nine", "9"}}},
		"nothing missed": {func(context.Context, *hub.Conn, string) ([]hub.Message, error) { return nil, nil }, 200, nil},
		"go away":        {func(context.Context, *hub.Conn, string) ([]hub.Message, error) { return nil, hub.Refuse(204, "") }, 204, nil},
		"failure":        {func(context.Context, *hub.Conn, string) ([]hub.Message, error) { return nil, bug }, 500, nil},
		"panic":          {func(context.Context, *hub.Conn, string) ([]hub.Message, error) { panic(bug) }, 500, nil},
		"unusable": {func(context.Context, *hub.Conn, string) ([]hub.Message, error) {
			return []hub.Message{hub.Text("\xff")}, nil
		}, 500, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := hubtest.Start(t, 1, hub.Options{OnConnect: welcome, Resume: c.resume, OnError: func(error) {}}, sse)[0]
			fresh := open(t, http.DefaultClient, s.URL+"?user=new&room=a")
			fresh.want(t, "welcome", "new", "")
			again := open(t, http.DefaultClient, s.URL+"?user=ada&room=a", "Last-Event-ID", "6")
			defer again.Body.Close()
			assert.Equal(t, c.status, again.StatusCode)
			if c.status != 200 {
				hubtest.Until(t, "it is counted, and nothing left", func() bool {
					st := s.Hub.Stats()
					return st.Refused[c.status] == 1 && st.Streams == 1
				})
				return
			}
			id := "6"
			for _, want := range c.want {
				again.want(t, want.name, want.data, want.id)
				id = want.id
			}
			if c.want == nil {
				id = ""
			}
			again.want(t, "welcome", "ada", id)
			require.NoError(t, s.Hub.Send(t.Context(), hub.Room("a"), hub.Message{ID: "8", Data: []byte("another eight")}))
			again.want(t, "message", "another eight", "8")
		})
	}
}

func TestStreamRefusals(t *testing.T) {
	s := hubtest.Start(t, 1, hub.Options{OnConnect: welcome, Origins: []string{"app.example.com"}}, sse)[0]
	res, err := http.Post(s.URL, "text/plain", nil)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, 405, res.StatusCode)
	assert.Equal(t, "GET", res.Header.Get("Allow"))
	assert.Equal(t, 403, open(t, http.DefaultClient, s.URL, "Origin", "https://evil.example").StatusCode)
	assert.Equal(t, 403, open(t, http.DefaultClient, s.URL, "Sec-Fetch-Site", "cross-site").StatusCode, "an image")
	app := open(t, http.DefaultClient, s.URL, "Origin", "https://app.example.com")
	assert.Equal(t, 200, app.StatusCode)
	assert.Equal(t, "https://app.example.com", app.Header.Get("Access-Control-Allow-Origin"))
	app.want(t, "welcome", "", "")
	assert.Equal(t, map[int]uint64{403: 2, 405: 1}, s.Hub.Stats().Refused)
	app.Body.Close()
	hubtest.Until(t, "the client's end is noticed", func() bool { return s.Hub.Stats().Closed[1001] == 1 })

	waits := open(t, http.DefaultClient, s.URL)
	waits.want(t, "welcome", "", "")
	require.NoError(t, s.Hub.Drain(t.Context(), 1000))
	waits.want(t, "close", `{"code":1012,"reason":"server restarts"}`, "")
	late := open(t, http.DefaultClient, s.URL)
	assert.Equal(t, 503, late.StatusCode)
	assert.NotEmpty(t, late.Header.Get("Retry-After"))
}

// TestStreamOfSlowClient: it is broken off, and its handler returns.
func TestStreamOfSlowClient(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hubtest.Start(t, 1, hub.Options{OnConnect: welcome, Queue: outgoing.Options{MaxMessages: 8}}, sse)[0].Hub
			web := httptest.NewUnstartedServer(h.SSE())
			if web.EnableHTTP2 = h2; h2 {
				web.StartTLS()
			} else {
				web.Start()
			}
			defer web.Close()
			slow := open(t, web.Client(), web.URL+"?user=slow")
			slow.want(t, "welcome", "slow", "")
			big := hub.Text(strings.Repeat("x", 500_000))
			for i := 0; h.Stats().Closed[1008] == 0; i++ {
				require.Less(t, i, 100_000)
				require.NoError(t, h.Send(t.Context(), hub.Everyone(), big))
				time.Sleep(time.Millisecond) // lets the queue write
			}
			assert.Zero(t, h.Stats().Streams)
		})
	}
}

// TestStreamsAreListed, beside a WebSocket that is none of them.
func TestStreamsAreListed(t *testing.T) {
	list := hubtest.Start(t, 2, hub.Options{OnConnect: welcome}, sse)
	open(t, http.DefaultClient, list[0].URL+"?user=ada&room=a").want(t, "welcome", "ada", "")
	who, err := list[1].Hub.Connections(t.Context(), hub.Room("a"))
	require.NoError(t, err)
	require.Len(t, who, 1)
	assert.True(t, who[0].Stream)
	assert.Equal(t, "ada", who[0].User)
	values, err := list[1].Hub.SendAck(t.Context(), hub.Room("a"), "1", hub.Text("x"), patience)
	require.NoError(t, err, "a stream is not waited for")
	assert.Empty(t, values)
}

// TestManyStreams come and go.
func TestManyStreams(t *testing.T) {
	var up, down atomic.Int64
	s := hubtest.Start(t, 1, hub.Options{
		OnConnect:    func(context.Context, *hub.Conn) error { up.Add(1); return nil },
		OnDisconnect: func(*hub.Conn, *hub.CloseError) { down.Add(1) },
	}, sse)[0]
	host := strings.TrimPrefix(s.URL, "http://")
	for i := range 300 {
		conn, err := net.Dial("tcp", host)
		require.NoError(t, err)
		fmt.Fprintf(conn, "GET /?user=u HTTP/1.1\r\nHost: %s\r\nLast-Event-ID: \x01\xff\r\n\r\n", host)
		if i%2 == 0 {
			_, err = conn.Read(make([]byte, 10))
			require.NoError(t, err)
		}
		conn.Close()
	}
	hubtest.Until(t, "all are gone", func() bool { return s.Hub.Stats().Streams == 0 && up.Load() == down.Load() })
	assert.Zero(t, s.Hub.Namespace().Len())
}
