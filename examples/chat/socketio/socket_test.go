package socketio_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// Packets of the fleet arrive, in order, with their attachments.
func TestDeliver(t *testing.T) {
	s := newServer(t, nil)
	c, socket := s.enter(t)
	require.NoError(t, s.root.Join(t.Context(), socket.ID(), "lobby"))
	require.NoError(t, s.root.To("lobby").Emit(t.Context(), "hello", "everybody", []byte{1, 2}))
	require.NoError(t, s.root.To("elsewhere").Emit(t.Context(), "lost"))
	require.NoError(t, s.root.Emit(t.Context(), "last"))
	c.expect(`451-["hello","everybody",{"_placeholder":true,"num":0}]`, "b:\x01\x02", `42["last"]`)
}

// A socket broadcasts to the others: in rooms, or to all of them.
func TestRoomsOfASocket(t *testing.T) {
	s := newServer(t, nil)
	ada, socket := s.enter(t)
	bob, other := s.enter(t)
	eve, _ := s.enter(t)
	require.NoError(t, socket.Join(t.Context(), "lobby", "attic"))
	require.NoError(t, other.Join(t.Context(), "lobby"))
	assert.Contains(t, socket.Rooms(), "lobby")
	assert.Contains(t, socket.Rooms(), "attic")
	require.NoError(t, socket.To("lobby", "attic").Emit(t.Context(), "to rooms"))
	require.NoError(t, socket.Others().Emit(t.Context(), "to all"))
	require.NoError(t, socket.Leave(t.Context(), "lobby", "never entered"))
	require.NoError(t, other.To("lobby").Emit(t.Context(), "to no socket"))
	require.NoError(t, other.To("attic").Emit(t.Context(), "to the attic"))
	other.Disconnect(false)
	s.gone(t, socketio.ServerDisconnect)
	assert.ErrorIs(t, other.Join(t.Context(), "lobby"), backplane.ErrNoSuchMember, "joining after it has left")
	require.NoError(t, other.To("attic").Emit(t.Context(), "after it has left"))
	require.NoError(t, s.root.Emit(t.Context(), "last"))
	ada.expect(`42["to the attic"]`, `42["after it has left"]`, `42["last"]`)
	bob.expect(`42["to rooms"]`, `42["to all"]`, "41")
	eve.expect(`42["to all"]`, `42["last"]`)
}

func TestFleetAsksForAcks(t *testing.T) {
	s := newServer(t, nil)
	c, _ := s.enter(t)
	done := make(chan *adapter.Acks, 1)
	go func() {
		acks, err := s.root.All().EmitWithAck(t.Context(), "sum", 1, 2)
		assert.NoError(t, err)
		done <- acks
	}()
	c.expect(`420["sum",1,2]`)
	c.send(`430[3]`)
	acks := <-done
	assert.Equal(t, 1, acks.Expected)
	require.Len(t, acks.Values, 1)
	assert.Equal(t, int64(3), acks.Values[0])
}

func TestEmitWithAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		c, socket := s.enter(t)
		type result struct {
			args []any
			err  error
		}
		ask := func(ctx context.Context) <-chan result {
			done := make(chan result, 1)
			go func() {
				args, err := socket.EmitWithAck(ctx, "question", []byte("?"))
				done <- result{args, err}
			}()
			c.expect(c.nextQuestion(), "b:?")
			return done
		}
		answered := ask(t.Context())
		c.send(`461-0["yes",{"_placeholder":true,"num":0}]`)
		c.attach([]byte("!"))
		r := <-answered
		require.NoError(t, r.err)
		assert.Equal(t, []any{"yes", []byte("!")}, r.args)
		c.send(`430["again"]`) // no caller waits for it any more
		c.send(`4399["never asked"]`)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		assert.ErrorIs(t, (<-ask(ctx)).err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		gone := ask(t.Context())
		c.send("41")
		assert.ErrorIs(t, (<-gone).err, socketio.ErrDisconnected, "client has left")
		_, err := socket.EmitWithAck(t.Context(), "question")
		assert.ErrorIs(t, err, socketio.ErrDisconnected, "client had left")
		assert.ErrorIs(t, socket.Emit("late"), socketio.ErrDisconnected, "client had left")
	})
}

// nextQuestion predicts the next event with an acknowledgement.
func (c *client) nextQuestion() string {
	c.questions++
	return `451-` + string('0'+rune(c.questions-1)) + `["question",{"_placeholder":true,"num":0}]`
}

// Acknowledgements that a client never sends use limited memory, and the newest stay.
func TestAnswersNeverGiven(t *testing.T) {
	s := newServer(t, nil)
	c, socket := s.enter(t)
	var mu sync.Mutex
	var answered []any
	p, err := s.root.NewPacket("question")
	require.NoError(t, err)
	for i := range 300 {
		socket.DeliverWithAck(p, func(...any) {
			mu.Lock()
			defer mu.Unlock()
			answered = append(answered, i)
		})
		c.read()
	}
	c.send("430[]")   // removed
	c.send("4343[]")  // the last removed one
	c.send("4344[]")  // the oldest pending one
	c.send("43299[]") // the newest
	c.send(`42["message"]`)
	c.expect(`42["message-back"]`)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []any{44, 299}, answered)
}

// Disconnected by the server, from the namespace only or with the connection.
func TestServerDisconnects(t *testing.T) {
	for _, all := range []bool{false, true} {
		s := newServer(t, nil)
		c, socket := s.enter(t)
		require.NoError(t, s.root.Join(t.Context(), socket.ID(), "lobby"))
		require.NoError(t, s.root.To("lobby").Emit(t.Context(), "kicked"))
		require.NoError(t, s.root.Disconnect(t.Context(), socket.ID(), all))
		c.expect(`42["kicked"]`, "41")
		d := s.gone(t, socketio.ServerDisconnect)
		assert.Len(t, d.rooms, 2)
		assert.Contains(t, d.rooms, "lobby")
		assert.Zero(t, s.root.Len(), "still there")
		assert.Nil(t, socket.Rooms(), "still there")
		if all {
			_, err := c.expectEnd()
			assert.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err), "ended with %v", err)
			continue
		}
		// An event that the client sent before it knew is no violation.
		c.send(`42["message","late"]`)
		c.send("40")
		got := c.read()
		assert.True(t, strings.HasPrefix(got, `40{"sid"`), "got %s", got)
		assert.EqualValues(t, 1, s.Stats().Late, "late events")
	}
}

// Functions passed to Go run concurrently with others. Their number is limited, Close waits for them, and their
// context ends when the client leaves.
func TestGo(t *testing.T) {
	running, release := make(chan struct{}, 10), make(chan struct{})
	s := newServerOn(t, &socketio.Options{MaxTasks: 2}, map[string]socketio.EventFunc{
		"slow": func(_ context.Context, s *socketio.Socket, e *socketio.Event) {
			s.Go(func(ctx context.Context) {
				running <- struct{}{}
				select {
				case <-release:
					e.Ack("done")
				case <-ctx.Done():
					running <- struct{}{}
				}
			})
		},
	})
	c, socket := s.enter(t)
	c.send(`421["slow"]`)
	c.send(`422["slow"]`)
	<-running
	<-running
	c.send(`42["message","not held up"]`)
	c.expect(`42["message-back","not held up"]`)
	c.send(`423["slow"]`) // delays later events
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.send(`42["message"]`)
	}()
	release <- struct{}{}
	<-running
	<-sent
	if first := c.read(); first != `431["done"]` && first != `432["done"]` {
		t.Errorf("got %s", first)
	}
	c.expect(`42["message-back"]`)
	c.CloseNow()
	s.gone(t, socketio.TransportClose)
	<-running
	<-running
	socket.Go(func(context.Context) { t.Error("called for a client that has left") })
}

// FetchSockets returns data, rooms and handshake, the handshake without credentials.
func TestDescribe(t *testing.T) {
	s := newServer(t, nil)
	c := s.open(t)
	c.send(`40{"token":"123"}`)
	c.read()
	c.expect(`42["auth",{"token":"123"}]`)
	got, err := s.root.All().FetchSockets(t.Context())
	require.NoError(t, err)
	var data map[string]string
	require.NoError(t, json.Unmarshal(got.List[0].Data, &data))
	var h adapter.Handshake
	require.NoError(t, json.Unmarshal(got.List[0].Handshake, &h))
	if auth, _ := h.Auth.(map[string]any); data["token"] != "123" || auth["token"] != adapter.Redacted || h.Query["EIO"] != "4" || h.Issued == 0 {
		t.Errorf("data %v, handshake %+v", data, h)
	}
}

// Close sends the queued packets and a farewell, and waits for running functions.
func TestClose(t *testing.T) {
	s := newServer(t, nil)
	c, socket := s.enter(t)
	require.NoError(t, socket.Emit("last words"))
	done := make(chan error, 1)
	go func() { done <- s.Close(t.Context()) }()
	c.expect(`42["last words"]`)
	if _, err := c.expectEnd(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("ended with %v", err)
	}
	require.NoError(t, <-done)
	s.gone(t, socketio.ServerShutdown)
	status, _, message := s.get(t, "GET", "?EIO=4&transport=websocket")
	assert.NotZero(t, status, message)
	require.NoError(t, s.Close(t.Context())) // again
	_, res, err := websocket.Dial(t.Context(), "ws://127.0.0.1/socket.io/?EIO=4&transport=websocket", &websocket.DialOptions{HTTPClient: s.http.Client()})
	require.Error(t, err)
	assert.Equal(t, 503, res.StatusCode, "a client after Close")
}

// A function that does not return delays Close only until the context ends, which ends the function's context.
func TestCloseForces(t *testing.T) {
	stuck := make(chan struct{})
	s := newServerOn(t, nil, map[string]socketio.EventFunc{
		"stuck": func(ctx context.Context, _ *socketio.Socket, _ *socketio.Event) {
			close(stuck)
			<-ctx.Done()
		},
	})
	c, _ := s.enter(t)
	c.send(`42["stuck"]`)
	<-stuck
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, s.Close(ctx), context.Canceled)
	s.gone(t, socketio.ServerShutdown)
}

// A function that panics ends its own connection, and no other.
func TestPanic(t *testing.T) {
	s := newServerOn(t, nil, map[string]socketio.EventFunc{
		"panic": func(context.Context, *socketio.Socket, *socketio.Event) { panic("on purpose") },
	})
	bystander, _ := s.enter(t)
	c, socket := s.enter(t)
	c.send(`42["panic"]`)
	c.expectEnd()
	d := s.gone(t, socketio.TransportClose)
	assert.Same(t, socket, d.socket, "sockets left")
	assert.Equal(t, 1, s.root.Len(), "sockets left")
	bystander.send(`421["message-with-ack","fine"]`)
	bystander.expect(`431["fine"]`)
}

// Close waits for the functions of a connection, also after a panic.
func TestCloseWaitsAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, release := make(chan struct{}), make(chan struct{})
		s := newServerOn(t, nil, map[string]socketio.EventFunc{
			"run": socketio.Async(func(context.Context, *socketio.Socket, *socketio.Event) {
				close(runs)
				<-release
			}),
			"panic": func(context.Context, *socketio.Socket, *socketio.Event) { panic("on purpose") },
		})
		c, _ := s.enter(t)
		c.send(`42["run"]`)
		<-runs
		c.send(`42["panic"]`)
		c.expectEnd()
		s.gone(t, socketio.TransportClose)
		closed := make(chan error, 1)
		go func() { closed <- s.Close(t.Context()) }()
		synctest.Wait()
		assert.Empty(t, closed, "Close returned while a function ran")
		close(release)
		require.NoError(t, <-closed)
	})
}
