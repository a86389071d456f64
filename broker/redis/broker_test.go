package redisbroker_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/servers"
)

func TestPublishAndSubscribe(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	a, b := open(t, srv.URL(), nil), open(t, srv.Addr(), nil)
	w := broker.SocketIO
	atA, atB := record(t), record(t)
	subscribe(t, a, atA, w.EveryRoom("/chat"))
	subscribe(t, b, atB, broker.Exactly(w.Room("/chat", "one")), broker.Exactly(w.Requests("/chat")))

	publish(t, a, w.Broadcast("/chat"), "to all")
	publish(t, a, w.Room("/chat", "one"), "to one")
	publish(t, a, w.Requests("/chat"), "question")
	publish(t, a, w.Room("/chat", "end"), "end")
	flush(t, a)

	atA.Want(w.Broadcast("/chat"), "to all")
	atA.Want(w.Room("/chat", "one"), "to one")
	atA.Want(w.Room("/chat", "end"), "end")
	atB.Want(w.Room("/chat", "one"), "to one")
	atB.Want(w.Requests("/chat"), "question")

	counts, err := a.Subscribers(within(t, patience), w.Room("/chat", "one"), w.Requests("/chat"), w.Broadcast("/chat"))
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 0}, counts, "Subscribers")
	s := a.Stats()
	require.EqualValues(t, 4, s.Accepted)
	require.EqualValues(t, 4, s.Sent)
	require.Zero(t, s.QueuedMessages)
	require.Zero(t, s.QueuedBytes)
}

func TestOverlappingFiltersDeliverOnce(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	b := open(t, srv.URL(), nil)
	w := broker.Native
	room := w.Room("/", "r")
	both, exact := record(t), record(t)
	s := subscribe(t, b, both, w.EveryRoom("/"), broker.Exactly(room))
	subscribe(t, b, exact, broker.Exactly(room))
	n := 0
	say := func() string {
		n++
		text := fmt.Sprint("message ", n)
		publish(t, b, room, text)
		return text
	}
	for range 3 {
		text := say()
		both.Want(room, text)
		exact.Want(room, text)
	}
	require.NoError(t, s.Remove(within(t, patience), w.EveryRoom("/")))
	publish(t, b, w.Room("/", "other"), "not wanted")
	text := say()
	both.Want(room, text)
	exact.Want(room, text)
	require.NoError(t, s.Add(within(t, patience), w.EveryRoom("/")))
	require.NoError(t, s.Remove(within(t, patience), broker.Exactly(room)))
	text = say()
	both.Want(room, text)
	exact.Want(room, text)
}
