package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/hub"
)

func testRefusals(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{
		Authenticate: func(r *http.Request) (hub.Identity, error) {
			switch r.FormValue("as") {
			case "nobody":
				return hub.Identity{}, hub.Refuse(http.StatusUnauthorized, "who are you?")
			case "error":
				return hub.Identity{}, errors.New("the database is down")
			case "panic":
				panic("bug")
			case "odd":
				return hub.Identity{User: strings.Repeat("x", 5000)}, nil
			case "broken":
				return hub.Identity{Rooms: []string{"\xff"}}, nil
			}
			return hub.Identity{}, nil
		},
		Origins: []string{"*.example.com", "localhost:*"}, MaxConnections: 1, OnConnect: welcome, OnError: func(error) {},
	}, glue)[0]
	host := strings.TrimPrefix(s.URL, "http://")
	want := map[int]uint64{}
	for _, c := range []struct {
		query, head string
		status      int // 0: admitted
	}{
		{"as=nobody", "", 401},
		{"as=error", "", 500},
		{"as=panic", "", 500},
		{"as=odd", "", 400},
		{"as=broken", "", 400},
		{"", "Origin: https://evil.example", 403},
		{"", "Origin: null", 403},
		{"", "Origin: http://" + host + ".evil.example", 403},
		{"", "Origin: https://example.com", 403},
		{"", "Origin: https://a.example.com.evil.example", 403},
		{"", "Sec-Fetch-Site: cross-site", 403},
		{"", "Origin: https://A.example.com", 0},
		{"", "Origin: http://localhost:3000", 0},
		{"", "Origin: http://" + host, 0},
		{"", "X: y", 0},
	} {
		head := []string{}
		if c.head != "" {
			head = append(head, c.head)
		}
		client, err := Dial(s.URL+"/?"+c.query, head...)
		if c.status != 0 {
			var refused *Refused
			if assert.ErrorAs(t, err, &refused, "%s %s", c.query, c.head) {
				assert.Equal(t, c.status, refused.Status, "%s %s", c.query, c.head)
			}
			want[c.status]++
			continue
		}
		require.NoError(t, err, "%s %s", c.query, c.head)
		client.Heard(t)
		_, err = Dial(s.URL) // one is there
		var refused *Refused
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, 503, refused.Status)
		want[503]++
		client.Conn.Close()
		Until(t, "its place is free", func() bool { return s.Hub.Stats().Sockets == 0 })
	}
	res, err := http.Get(s.URL) // no handshake
	require.NoError(t, err)
	res.Body.Close()
	assert.GreaterOrEqual(t, res.StatusCode, 400)
	want[res.StatusCode]++
	Until(t, "all is counted", func() bool { return assert.ObjectsAreEqual(want, s.Hub.Stats().Refused) })
	assert.Equal(t, uint64(1), s.Hub.Stats().Panics)
}

// testRules: what breaks a rule ends with the stated code, is counted, and leaves nothing.
func testRules(t *testing.T, glue Glue) {
	var mu sync.Mutex
	ends := map[string]int{}
	s := Start(t, 1, hub.Options{
		MaxMessage: 1000, Rate: 50, Burst: 20, OnConnect: welcome, OnError: func(error) {},
		OnMessage: func(_ context.Context, c *hub.Conn, m hub.Message) error {
			switch string(m.Data) {
			case "panic":
				panic("bug")
			case "error":
				return errors.New("failed")
			case "ban":
				return &hub.CloseError{Code: 4003, Reason: strings.Repeat("ü", 100)}
			case "bad code":
				return &hub.CloseError{Code: 1006}
			case "close":
				c.Close(1000, "bye")
			case "json":
				return hub.OnJSON(func(context.Context, *hub.Conn, struct{ N int }) error { return nil })(context.Background(), c, m)
			}
			return nil
		},
		OnDisconnect: func(c *hub.Conn, reason *hub.CloseError) {
			mu.Lock()
			defer mu.Unlock()
			ends[c.User()]++
			if want := c.Value().(string); want != fmt.Sprint(reason.Code) {
				t.Errorf("%s: OnDisconnect got %v", c.User(), reason)
			}
		},
	}, glue)[0]
	cases := []struct {
		name string
		send []byte
		code int // that the client gets
	}{
		{"too large", Frame(Fin|TextFrame, make([]byte, 1001)), 1009},
		{"too large in fragments", slices.Concat(Frame(TextFrame, make([]byte, 600)), Frame(Fin|Continuation, make([]byte, 600))), 1009},
		{"endless frame", append(FrameHead(Fin|BinaryFrame, 1<<62), make([]byte, 5000)...), 1009},
		{"endless fragments", append(Frame(TextFrame, nil), bytes.Repeat(Frame(Continuation, nil), 200_000)...), 1008},
		{"flood of pongs", bytes.Repeat(Frame(Fin|PongFrame, []byte("x")), 100_000), 1008},
		{"unmasked", []byte{Fin | TextFrame, 1, 'x'}, 1002},
		{"unknown opcode", Frame(Fin|3, nil), 1002},
		{"reserved bits", Frame(Fin|0x40|TextFrame, []byte("x")), 1002},
		{"continuation of nothing", Frame(Fin|Continuation, []byte("x")), 1002},
		{"long ping", Frame(Fin|PingFrame, make([]byte, 200)), 1002},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 1002},
		{"text not in UTF-8", Frame(Fin|TextFrame, []byte("\xc3\x28")), 1007},
		{"not JSON", Frame(Fin|TextFrame, []byte("json")), 1007},
		{"too many messages", bytes.Repeat(Frame(Fin|TextFrame, []byte("x")), 40), 1008},
		{"panic", Frame(Fin|TextFrame, []byte("panic")), 1011},
		{"error", Frame(Fin|TextFrame, []byte("error")), 1011},
		{"own code", Frame(Fin|TextFrame, []byte("ban")), 4003},
		{"code that cannot be sent", Frame(Fin|TextFrame, []byte("bad code")), 1011},
		{"closed", Frame(Fin|TextFrame, []byte("close")), 1000},
	}
	want := map[int]uint64{}
	var all sync.WaitGroup
	for _, c := range cases {
		want[c.code]++
		client := join(t, s, fmt.Sprintf("user=%s&value=%d", strings.ReplaceAll(c.name, " ", "_"), c.code))
		all.Go(func() {
			go client.Raw(c.send) // the server may stop reading
			began := time.Now()
			code, reason := client.Closed()
			assert.Less(t, time.Since(began), 4*time.Second, "%s: the server waits for the client", c.name)
			assert.Equal(t, c.code, code, "%s: %s", c.name, reason)
			assert.LessOrEqual(t, len(reason), 123)
		})
	}
	all.Wait()
	// Clients that leave.
	for _, c := range []struct {
		send string
		code int
	}{{"\x03\xe8", 1000}, {"\x0f\xa1bye", 4001}, {"", 1005}} {
		client := join(t, s, fmt.Sprintf("user=%d&value=%d", c.code, c.code))
		require.NoError(t, client.Raw(Frame(Fin|CloseFrame, []byte(c.send))))
		first, payload, err := client.Next()
		require.NoError(t, err)
		assert.Equal(t, byte(Fin|CloseFrame), first, "the answer")
		assert.Equal(t, c.send[:min(2, len(c.send))], string(payload)[:min(2, len(payload))])
		want[c.code]++
	}
	join(t, s, "user=gone&value=1006").Conn.Close()
	want[1006]++
	Until(t, "all are gone", func() bool { return s.Hub.Stats().Sockets == 0 })
	assert.Equal(t, want, s.Hub.Stats().Closed)
	assert.Equal(t, uint64(1), s.Hub.Stats().Panics)
	assert.Zero(t, s.Hub.Namespace().Len())
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, ends, len(cases)+4)
	for user, n := range ends {
		assert.Equal(t, 1, n, "OnDisconnect of %s", user)
	}
}
