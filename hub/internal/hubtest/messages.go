package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/outgoing"
)

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
