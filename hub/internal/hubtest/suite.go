package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/outgoing"
)

// Run runs the tests on a glue.
func Run(t *testing.T, glue Glue) {
	for name, test := range map[string]func(*testing.T, Glue){
		"targets": testTargets, "rooms": testRooms, "acknowledgements": testAcks, "kinds of messages": testKinds,
		"refusals": testRefusals, "rules": testRules, "slow client": testSlowClient, "unresponsive client": testUnresponsive,
		"idle client": testIdle, "slow handshake": testSlowHandshake, "coming and going": testChurn, "drain": testDrain,
		"close": testClose, "callbacks": testCallbacks, "frames stay whole": testFramesStayWhole, "kick": testKick,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, glue)
		})
	}
}

// welcome greets each connection, so that a client knows when messages reach it.
func welcome(_ context.Context, c *hub.Conn) error { return c.Send(hub.Text("welcome " + c.User())) }

// join connects a client and waits for its welcome.
func join(t testing.TB, s *Server, query string) *Client {
	t.Helper()
	c := MustDial(t, s.URL+"/?"+query)
	require.True(t, strings.HasPrefix(c.Heard(t), "welcome "))
	return c
}

func testTargets(t *testing.T, glue Glue) {
	ids := make(chan string, 10)
	list := Start(t, 2, hub.Options{OnConnect: func(ctx context.Context, c *hub.Conn) error {
		ids <- c.ID()
		return welcome(ctx, c)
	}}, glue)
	// A client may choose rooms with any names: they are not those of users and connections.
	ada := join(t, list[0], "user=ada&room=lobby&room=u:bob&room=everyone")
	adaID := <-ids
	ada2 := join(t, list[1], "user=ada&room=ops&room="+adaID)
	<-ids
	bob := join(t, list[1], "user=bob&room=lobby&room=ops")
	<-ids
	clients := map[string]*Client{"ada": ada, "ada2": ada2, "bob": bob}
	for i, c := range []struct {
		to   hub.Target
		want []string
	}{
		{hub.Everyone(), []string{"ada", "ada2", "bob"}},
		{hub.Room("lobby"), []string{"ada", "bob"}},
		{hub.Room("lobby", "ops"), []string{"ada", "ada2", "bob"}},
		{hub.User("ada"), []string{"ada", "ada2"}},
		{hub.User("bob"), []string{"bob"}},
		{hub.Connection(adaID), []string{"ada"}},
		{hub.Connection(adaID).And(hub.User("bob")), []string{"ada", "bob"}},
		{hub.Room("ops").Except(hub.User("ada")), []string{"bob"}},
		{hub.Everyone().Except(hub.Connection(adaID)), []string{"ada2", "bob"}},
		{hub.Everyone().Except(hub.Room("lobby")), []string{"ada2"}},
		{hub.Room("lobby").Local(), []string{"ada"}},
		{hub.Everyone().Except(hub.Everyone()), nil},
		{hub.Room(), nil},
		{hub.User(), nil},
		{hub.Target{}, nil},
	} {
		require.NoError(t, list[0].Hub.Send(t.Context(), c.to, hub.Text(fmt.Sprint("case ", i))))
		require.NoError(t, list[0].Hub.Send(t.Context(), hub.Everyone(), hub.Text("end")))
		for name, client := range clients {
			want := "end"
			if slices.Contains(c.want, name) {
				want = fmt.Sprint("case ", i)
			}
			assert.Equal(t, want, client.Heard(t), "case %d: %s", i, name)
			if want != "end" {
				assert.Equal(t, "end", client.Heard(t), "case %d: %s", i, name)
			}
		}
	}
}

func testRooms(t *testing.T, glue Glue) {
	list := Start(t, 2, hub.Options{OnConnect: welcome, OnMessage: func(ctx context.Context, c *hub.Conn, m hub.Message) error {
		verb, room, _ := strings.Cut(string(m.Data), " ")
		var err error
		if verb == "join" {
			err = c.Join(ctx, room)
		} else {
			err = c.Leave(ctx, room)
		}
		rooms := c.Rooms()
		slices.Sort(rooms)
		return errors.Join(err, c.Send(hub.Text(strings.Join(rooms, " "))))
	}}, glue)
	ada, bob := join(t, list[0], "user=ada&room=a"), join(t, list[1], "user=bob&room=a")
	require.NoError(t, ada.Say("join b"))
	assert.Equal(t, "a b", ada.Heard(t))
	require.NoError(t, ada.Say("leave a"))
	assert.Equal(t, "b", ada.Heard(t))

	n, err := list[0].Hub.Join(t.Context(), hub.Room("a", "b"), "c")
	require.NoError(t, err)
	assert.Equal(t, 2, n, "on both servers")
	who, err := list[1].Hub.Connections(t.Context(), hub.Room("c"))
	require.NoError(t, err)
	require.Len(t, who, 2)
	slices.SortFunc(who, func(a, b hub.Info) int { return strings.Compare(a.User, b.User) })
	assert.Equal(t, []string{"ada", "bob"}, []string{who[0].User, who[1].User})
	assert.ElementsMatch(t, []string{"b", "c"}, who[0].Rooms)
	assert.NotEqual(t, who[0].Node, who[1].Node)
	assert.False(t, who[0].Stream)
	assert.WithinDuration(t, time.Now(), who[0].Since, patience)

	n, err = list[0].Hub.Leave(t.Context(), hub.User("bob"), "a", "c")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	require.NoError(t, bob.Say("join d"))
	assert.Equal(t, "d", bob.Heard(t))
	n, err = list[0].Hub.Join(t.Context(), hub.Target{}, "everywhere")
	assert.NoError(t, err)
	assert.Zero(t, n, "of no target")
}

func testAcks(t *testing.T, glue Glue) {
	list := Start(t, 2, hub.Options{OnConnect: welcome, OnMessage: func(_ context.Context, c *hub.Conn, m hub.Message) error {
		id, value, _ := strings.Cut(string(m.Data), " ")
		first := c.Ack(id, []byte(c.User()+" "+value))
		assert.False(t, c.Ack(id, nil), "twice")
		return c.Send(hub.Text(fmt.Sprint(first)))
	}}, glue)
	for _, user := range []string{"ada", "bob"} {
		c := join(t, list[len(user)-3], "user="+user)
		go func() {
			if _, order, err := c.Next(); err == nil {
				c.Say(strings.TrimPrefix(string(order), "order ") + " received")
			}
		}()
	}
	deaf := join(t, list[1], "user=deaf")
	values, err := list[0].Hub.SendAck(t.Context(), hub.User("ada", "bob"), "7", hub.Text("order 7"), patience)
	require.NoError(t, err)
	var texts []string
	for _, v := range values {
		texts = append(texts, string(v))
	}
	assert.ElementsMatch(t, []string{"ada received", "bob received"}, texts)

	values, err = list[0].Hub.SendAck(t.Context(), hub.User("deaf"), "8", hub.Text("order 8"), 50*time.Millisecond)
	var partial *backplane.PartialError
	require.ErrorAs(t, err, &partial)
	assert.Empty(t, values)
	assert.Equal(t, "order 8", deaf.Heard(t))
	require.NoError(t, deaf.Say("9 what"))
	assert.Equal(t, "false", deaf.Heard(t), "an id that was never sent")
	require.NoError(t, deaf.Say("8 late"))
	assert.Equal(t, "true", deaf.Heard(t), "owed, although nothing waits for it any more")
	_, err = list[0].Hub.SendAck(t.Context(), hub.Everyone(), "", hub.Text("x"), 0)
	var bad *hub.MessageError
	assert.ErrorAs(t, err, &bad)
}

func testKinds(t *testing.T, glue Glue) {
	got := make(chan hub.Message, 10)
	s := Start(t, 1, hub.Options{OnConnect: welcome, MaxMessage: 1 << 20, OnMessage: func(_ context.Context, _ *hub.Conn, m hub.Message) error {
		got <- m
		return nil
	}}, glue)[0]
	c := join(t, s, "user=ada")
	for _, size := range []int{0, 1, 125, 126, 1 << 16, 1<<16 - 1, 300_000} {
		for _, isBinary := range []bool{false, true} {
			data := bytes.Repeat([]byte("ä"), size)[:size&^1]
			if isBinary {
				data = bytes.Repeat([]byte{0xff}, size)
			}
			require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Message{Data: data, Binary: isBinary, ID: "1", Event: "e"}))
			first, payload, err := c.Next()
			require.NoError(t, err)
			assert.Equal(t, isBinary, first == Fin|BinaryFrame)
			assert.True(t, bytes.Equal(data, payload), "%d bytes", size)
			require.NoError(t, c.Raw(Frame(first, data)))
			m := <-got
			assert.Equal(t, isBinary, m.Binary)
			assert.True(t, bytes.Equal(data, m.Data), "%d bytes", size)
		}
	}
	require.NoError(t, s.Hub.SendJSON(t.Context(), hub.User("ada"), map[string]int{"n": 1}))
	assert.Equal(t, `{"n":1}`, c.Heard(t))
	// A message in three frames, with a ping in between.
	require.NoError(t, c.Raw(slices.Concat(Frame(TextFrame, []byte("a")), Frame(Continuation, []byte("b")), Frame(Fin|PingFrame, []byte("?")), Frame(Fin|Continuation, []byte("c")))))
	assert.Equal(t, "abc", string((<-got).Data))
	first, payload, err := c.Next()
	require.NoError(t, err)
	assert.Equal(t, byte(Fin|PongFrame), first)
	assert.Equal(t, "?", string(payload))

	var bad *hub.MessageError
	for _, m := range []hub.Message{hub.Text("\xff"), {Event: "a\nb"}, {ID: "\x00"}, {ID: "a\rb"}} {
		assert.ErrorAs(t, s.Hub.Send(t.Context(), hub.Everyone(), m), &bad)
	}
	assert.Error(t, s.Hub.SendJSON(t.Context(), hub.Everyone(), func() {}))
	assert.Equal(t, uint64(15), s.Hub.Stats().Received)
}

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

// testSlowClient: a client that never reads is broken off, whatever it costs the others nothing.
func testSlowClient(t *testing.T, glue Glue) {
	var reason atomic.Pointer[hub.CloseError]
	s := Start(t, 1, hub.Options{
		OnConnect: welcome, Queue: outgoing.Options{MaxMessages: 8},
		OnDisconnect: func(c *hub.Conn, why *hub.CloseError) {
			if c.User() == "slow" {
				reason.Store(why)
			}
		},
	}, glue)[0]
	slow := join(t, s, "user=slow")
	slow.Conn.(*net.TCPConn).SetReadBuffer(4096)
	fast := join(t, s, "user=fast")
	big := hub.Binary(make([]byte, 200_000))
	for i := 0; reason.Load() == nil; i++ {
		require.Less(t, i, 1000, "messages for a client that never reads")
		require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), big))
		require.Len(t, fast.Heard(t), len(big.Data))
	}
	assert.Equal(t, 1008, reason.Load().Code)
	assert.ErrorIs(t, reason.Load(), outgoing.ErrFull)
	Until(t, "the slow one is gone", func() bool { return s.Hub.Stats().Sockets == 1 })
	assert.Equal(t, uint64(1), s.Hub.Stats().Dropped)
	assert.Equal(t, map[int]uint64{1008: 1}, s.Hub.Stats().Closed)
	require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("on")))
	assert.Equal(t, "on", fast.Heard(t))
}

func testUnresponsive(t *testing.T, glue Glue) {
	reasons := make(chan *hub.CloseError, 2)
	s := Start(t, 1, hub.Options{
		OnConnect: welcome, PingInterval: 20 * time.Millisecond, PingTimeout: 300 * time.Millisecond,
		OnDisconnect: func(c *hub.Conn, why *hub.CloseError) {
			if c.User() == "asleep" {
				reasons <- why
			}
		},
	}, glue)[0]
	awake := join(t, s, "user=awake")
	pinged := make(chan string, 1)
	go func() { // answers pings until it hears something
		_, payload, err := awake.Next()
		pinged <- fmt.Sprintf("%s %v", payload, err)
	}()
	join(t, s, "user=asleep") // answers no ping
	why := <-reasons
	assert.Equal(t, 1006, why.Code)
	assert.ErrorIs(t, why, hub.ErrUnresponsive)
	require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("still there?")))
	assert.Equal(t, "still there? <nil>", <-pinged)
}

func testIdle(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome, IdleTimeout: 60 * time.Millisecond}, glue)[0]
	code, reason := join(t, s, "user=ada").Closed()
	assert.Equal(t, 1000, code)
	assert.Equal(t, "idle", reason)
}

// testSlowHandshake: the web server's ReadHeaderTimeout ends handshakes that take for ever.
func testSlowHandshake(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome}, glue)[0]
	web := httptest.NewUnstartedServer(glue(s.Hub))
	web.Config.ReadHeaderTimeout = 50 * time.Millisecond
	web.Start()
	defer web.Close()
	var conns []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: webs"))
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.SetReadDeadline(time.Now().Add(patience))
		_, err := conn.Read(make([]byte, 1))
		var timeout net.Error
		assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the server keeps it")
	}
	assert.Zero(t, s.Hub.Stats().Accepted)
	c := MustDial(t, web.URL+"/?user=ada") // deadlines of the handshake do not end the connection
	assert.Equal(t, "welcome ada", c.Heard(t))
	time.Sleep(100 * time.Millisecond) // longer than the deadline: what must not happen is the end
	require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("on")))
	assert.Equal(t, "on", c.Heard(t))
}

// testChurn: many clients come and go, also in the middle of everything.
func testChurn(t *testing.T, glue Glue) {
	var connected, disconnected atomic.Int64
	s := Start(t, 1, hub.Options{
		OnConnect:    func(context.Context, *hub.Conn) error { connected.Add(1); return nil },
		OnDisconnect: func(*hub.Conn, *hub.CloseError) { disconnected.Add(1) },
	}, glue)[0]
	const clients, workers = 600, 16
	var all sync.WaitGroup
	var next atomic.Int64
	for range workers {
		all.Go(func() {
			for i := next.Add(1); i <= clients; i = next.Add(1) {
				c, err := Dial(fmt.Sprintf("%s/?user=u%d&room=a&room=r%d", s.URL, i%7, i))
				if !assert.NoError(t, err) {
					return
				}
				if i%3 == 0 {
					c.Raw(Frame(Fin|CloseFrame, []byte("\x03\xe8")))
				}
				if i%3 == 1 {
					c.Conn.(*net.TCPConn).SetLinger(0) // a reset
				}
				c.Conn.Close()
			}
		})
		all.Go(func() {
			for next.Load() < clients {
				assert.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("x")))
				time.Sleep(time.Millisecond) // gives the others the processor
			}
		})
	}
	all.Wait()
	Until(t, "all are gone", func() bool { st := s.Hub.Stats(); return st.Accepted == clients && st.Sockets == 0 })
	assert.Zero(t, s.Hub.Namespace().Len())
	assert.Empty(t, s.Hub.Namespace().LocalRooms())
	assert.Equal(t, connected.Load(), disconnected.Load())
	closed := uint64(0)
	for _, n := range s.Hub.Stats().Closed {
		closed += n
	}
	assert.Equal(t, uint64(clients), closed)
}

// RunMemory: connections that came and went, in each way, leave no memory. It measures the process: no test may run beside it.
func RunMemory(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{
		MaxMessage: 1000, Burst: 10, OnError: func(error) {}, CloseTimeout: time.Second,
		OnMessage: func(_ context.Context, c *hub.Conn, m hub.Message) error { panic("bug") },
	}, glue)[0]
	const clients = 1000
	accepted := uint64(0)
	churn := func() (memory int) {
		var all sync.WaitGroup
		var next atomic.Int64
		for range 16 {
			all.Go(func() {
				for i := next.Add(1); i <= clients; i = next.Add(1) {
					c, err := Dial(fmt.Sprintf("%s/?user=u%d&room=a&room=r%d", s.URL, i, i))
					if !assert.NoError(t, err) {
						return
					}
					switch i % 5 {
					case 0: // leaves politely
						c.Raw(Frame(Fin|CloseFrame, []byte("\x03\xe8")))
					case 1: // sends garbage
						c.Raw([]byte("GET / HTTP/1.1\r\n\r\n"))
					case 2: // sends too much
						c.Raw(FrameHead(Fin|BinaryFrame, 1<<62))
					case 3: // makes the handler panic
						c.Say("panic")
					case 4: // a reset
						c.Conn.(*net.TCPConn).SetLinger(0)
					}
					c.Conn.Close()
				}
			})
		}
		all.Wait()
		accepted += clients
		Until(t, "all are gone", func() bool { st := s.Hub.Stats(); return st.Accepted == accepted && st.Sockets == 0 })
		return heap()
	}
	churn()
	before := churn() // pools and maps have their size
	after := churn()
	Until(t, "the memory is back", func() bool { after = min(after, heap()); return after < before+clients*256 })
	t.Logf("%d connections that came and went left %d bytes", clients, after-before)
	assert.Zero(t, s.Hub.Namespace().Len())
}

// heap returns the bytes of the heap that are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func testDrain(t *testing.T, glue Glue) {
	list := Start(t, 2, hub.Options{OnConnect: welcome}, glue)
	s, other := list[0], list[1].Hub.Namespace().Node()
	const n = 20
	var codes sync.Map
	var all sync.WaitGroup
	for i := range n {
		c := join(t, s, fmt.Sprintf("user=u%d", i))
		all.Go(func() {
			code, _ := c.Closed()
			codes.Store(i, code)
		})
	}
	assert.Error(t, s.Hub.Drain(t.Context(), 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, s.Hub.Drain(ctx, 0.001), context.Canceled)
	assert.False(t, s.Hub.Namespace().Node().Health().Ready, "no load balancer sends clients")
	Until(t, "the other server knows", func() bool { peers := other.KnownPeers(); return len(peers) == 1 && peers[0].Leaving })
	_, err := Dial(s.URL)
	var refused *Refused
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 503, refused.Status)
	began := time.Now()
	require.NoError(t, s.Hub.Drain(t.Context(), 100))
	assert.GreaterOrEqual(t, time.Since(began), (n-2)*10*time.Millisecond, "the rate")
	all.Wait()
	codes.Range(func(i, code any) bool { return assert.Equal(t, 1012, code, "client %v", i) })
	assert.Equal(t, map[int]uint64{1012: n}, s.Hub.Stats().Closed)
	assert.NoError(t, s.Hub.Drain(t.Context(), 1), "again")
}

// testClose: queued messages come before the close frame, and clients that do not answer it delay nothing for long.
func testClose(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome, CloseTimeout: 300 * time.Millisecond}, glue)[0]
	c, mute := join(t, s, "user=ada"), join(t, s, "user=mute")
	for i := range 100 {
		require.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text(fmt.Sprint(i))))
	}
	closed := make(chan error)
	go func() { closed <- s.Hub.Close(context.Background()) }()
	for i := range 100 {
		assert.Equal(t, fmt.Sprint(i), c.Heard(t))
	}
	code, _ := c.Closed()
	assert.Equal(t, 1001, code)
	require.NoError(t, <-closed)
	assert.Equal(t, map[int]uint64{1001: 2}, s.Hub.Stats().Closed)
	assert.NoError(t, s.Hub.Close(t.Context()), "again")
	assert.Error(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text("late")))
	code, _ = mute.Closed()
	assert.Equal(t, 1001, code)
	_, err := Dial(s.URL)
	var refused *Refused
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 503, refused.Status)
}

func testCallbacks(t *testing.T, glue Glue) {
	var reports atomic.Int64
	conns := make(chan *hub.Conn, 1)
	gone := make(chan *hub.CloseError, 1)
	s := Start(t, 1, hub.Options{
		OnConnect: func(ctx context.Context, c *hub.Conn) error {
			switch c.User() {
			case "panic":
				panic("bug")
			case "banned":
				return &hub.CloseError{Code: 4000, Reason: "banned"}
			}
			conns <- c
			return welcome(ctx, c)
		},
		OnMessage: func(ctx context.Context, c *hub.Conn, _ hub.Message) error {
			<-ctx.Done() // a handler that hangs ends with its connection
			panic("late bug")
		},
		OnDisconnect: func(c *hub.Conn, reason *hub.CloseError) {
			if c.User() == "ada" {
				gone <- reason
				panic("again")
			}
		},
		OnError: func(err error) {
			if !strings.Contains(err.Error(), "panicked") {
				t.Errorf("reported: %v", err)
			}
			reports.Add(1)
		},
	}, glue)[0]
	for user, want := range map[string]int{"panic": 1011, "banned": 4000} {
		code, _ := MustDial(t, s.URL+"/?user="+user).Closed()
		assert.Equal(t, want, code, user)
	}
	client := join(t, s, "user=ada&value=v&room=a")
	c := <-conns
	assert.Equal(t, "ada", c.User())
	assert.Equal(t, "v", c.Value())
	assert.Same(t, s.Hub, c.Hub())
	assert.Equal(t, []string{"a"}, c.Rooms())
	require.NoError(t, c.SendJSON([]int{1}))
	assert.Equal(t, "[1]", client.Heard(t))
	var bad *hub.MessageError
	assert.ErrorAs(t, c.Send(hub.Text("\xff")), &bad)
	require.NoError(t, client.Say("hang"))
	Until(t, "the handler hangs", func() bool { return s.Hub.Stats().Received == 1 })
	c.Close(4001, "enough")
	code, reason := client.Closed()
	assert.Equal(t, 4001, code)
	assert.Equal(t, "enough", reason)
	assert.Equal(t, 4001, (<-gone).Code)
	Until(t, "all are gone", func() bool { return s.Hub.Stats().Sockets == 0 })
	assert.ErrorIs(t, c.Send(hub.Text("late")), hub.ErrDropped)
	assert.False(t, c.Ack("x", nil))
	assert.Empty(t, c.Rooms())
	var why *hub.CloseError
	assert.ErrorAs(t, context.Cause(c.Context()), &why)
	c.Close(1000, "twice")
	assert.Equal(t, uint64(3), s.Hub.Stats().Panics)
	Until(t, "a panic after the end is reported too", func() bool { return reports.Load() == 3 })
}

// testFramesStayWhole: shared frames, pongs and pings go out side by side.
func testFramesStayWhole(t *testing.T, glue Glue) {
	s := Start(t, 1, hub.Options{OnConnect: welcome, PingInterval: 2 * time.Millisecond, Rate: -1,
		Queue: outgoing.Options{MaxMessages: 1 << 20, MaxBytes: 1 << 30}}, glue)[0]
	c := join(t, s, "user=ada")
	var all sync.WaitGroup
	const n = 300
	all.Go(func() {
		for range n {
			c.Raw(Frame(Fin|PingFrame, []byte("are you there?")))
			c.Raw(Frame(Fin|TextFrame, []byte("x"))) // renews the credit
		}
	})
	for _, letter := range []string{"a", "b"} {
		all.Go(func() {
			for i := range n {
				assert.NoError(t, s.Hub.Send(t.Context(), hub.Everyone(), hub.Text(strings.Repeat(letter, 1+i*i%5000))))
			}
		})
	}
	messages, pongs, next := 0, 0, map[byte]int{}
	for messages < 2*n || pongs < n {
		first, payload, err := c.Next()
		require.NoError(t, err)
		switch first {
		case Fin | PongFrame:
			pongs++
			require.Equal(t, "are you there?", string(payload))
		case Fin | TextFrame:
			messages++
			letter := payload[0]
			i := next[letter]
			require.Equal(t, strings.Repeat(string(letter), 1+i*i%5000), string(payload))
			next[letter]++
		default:
			t.Fatalf("a frame %x with %q", first, payload)
		}
	}
	all.Wait()
}

func testKick(t *testing.T, glue Glue) {
	list := Start(t, 2, hub.Options{OnConnect: welcome}, glue)
	a, b := join(t, list[0], "user=eve&room=a"), join(t, list[1], "user=eve")
	stays := join(t, list[1], "user=ada&room=a")
	n, err := list[0].Hub.Kick(t.Context(), hub.User("eve"), 4001, "spam")
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	for _, c := range []*Client{a, b} {
		code, reason := c.Closed()
		assert.Equal(t, 4001, code)
		assert.Equal(t, "spam", reason)
	}
	n, err = list[0].Hub.Kick(t.Context(), hub.Target{}, 4001, "nobody")
	assert.NoError(t, err)
	assert.Zero(t, n)
	require.NoError(t, list[0].Hub.Send(t.Context(), hub.Room("a"), hub.Text("on")))
	assert.Equal(t, "on", stays.Heard(t))
	n, err = list[0].Hub.Kick(t.Context(), hub.Everyone().Local(), 4001, "nobody is here")
	assert.NoError(t, err)
	assert.Zero(t, n)
	_, err = list[0].Hub.Namespace().DisconnectAll(t.Context(), backplane.All(), true)
	require.NoError(t, err)
	code, _ := stays.Closed()
	assert.Equal(t, 1000, code)
}
