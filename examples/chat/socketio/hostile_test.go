package socketio_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// Whatever a client sends, it gets an error and is disconnected, without effect on others.
func TestBadInput(t *testing.T) {
	const limit = 1000
	s := newServer(t, &socketio.Options{MaxPayload: limit, MaxAttachments: 2})
	bystander, _ := s.enter(t)
	parse, transport, forced := socketio.ParseError, socketio.TransportError, socketio.ForcedClose
	long := strings.Repeat("x", limit)
	for _, c := range []struct {
		name   string
		send   []string // "b:" for binary
		reason socketio.Reason
		status websocket.StatusCode
	}{
		{"no Engine.IO packet", []string{"abc"}, transport, websocket.StatusProtocolError},
		{"an empty message", []string{""}, transport, websocket.StatusProtocolError},
		{"a ping from the client", []string{"2"}, transport, websocket.StatusProtocolError},
		{"a probe", []string{"2probe"}, transport, websocket.StatusProtocolError},
		{"an upgrade", []string{"5"}, transport, websocket.StatusProtocolError},
		{"a handshake", []string{"0{}"}, transport, websocket.StatusProtocolError},
		{"an unknown packet", []string{"4abc"}, parse, websocket.StatusProtocolError},
		{"no Socket.IO packet", []string{"4"}, parse, websocket.StatusProtocolError},
		{"an object for an event", []string{"42{}"}, parse, websocket.StatusProtocolError},
		{"a bad id", []string{`42abc["message-with-ack",1]`}, parse, websocket.StatusProtocolError},
		{"broken JSON", []string{`42["message",`}, parse, websocket.StatusProtocolError},
		{"text that is no UTF-8", []string{"42[\"message\",\"\xff\"]"}, parse, websocket.StatusProtocolError},
		{"a reserved event", []string{`42["disconnect"]`}, parse, websocket.StatusProtocolError},
		{"an error for the server", []string{`44{"message":"no"}`}, parse, websocket.StatusProtocolError},
		{"too many attachments", []string{`453-["message"]`}, parse, websocket.StatusProtocolError},
		{"a text for an attachment", []string{`451-["message"]`, `42["message"]`}, parse, websocket.StatusProtocolError},
		{"an attachment for nothing", []string{"b:abc"}, parse, websocket.StatusProtocolError},
		{"an illegal placeholder", []string{`451-["message",{"_placeholder":true,"num":7}]`, "b:abc"}, parse, websocket.StatusProtocolError},
		{"an attachment twice", []string{`451-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, "b:abc"}, parse, websocket.StatusProtocolError},
		{"large attachments", []string{`452-["message"]`, "b:" + long[:limit/2], "b:" + long[:limit/2]}, parse, websocket.StatusProtocolError},
		{"a large text", []string{`42["message","` + long + `"]`}, transport, websocket.StatusMessageTooBig},
		{"a huge text", []string{`42["message","` + strings.Repeat(long, 1000) + `"]`}, transport, websocket.StatusMessageTooBig},
		{"a large attachment", []string{`451-["message"]`, "b:" + long + long}, transport, websocket.StatusMessageTooBig},
		{"an event for a namespace it is not in", []string{`42/custom,["message"]`}, forced, websocket.StatusPolicyViolation},
		{"an event for an unknown namespace", []string{`42/random,["message"]`}, forced, websocket.StatusPolicyViolation},
		{"a second connect", []string{"40"}, forced, websocket.StatusPolicyViolation},
		{"an event after leaving", []string{"41", `42["message"]`}, socketio.ClientDisconnect, websocket.StatusPolicyViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, socket := s.enter(t)
			go func() { // refused input is not read to its end
				for _, m := range c.send {
					typ := websocket.MessageText
					if binary, is := strings.CutPrefix(m, "b:"); is {
						typ, m = websocket.MessageBinary, binary
					}
					client.Write(t.Context(), typ, []byte(m))
				}
			}()
			last, err := client.expectEnd()
			assert.Equal(t, c.status, websocket.CloseStatus(err), "ended with %v", err)
			assert.Empty(t, last, "ended with %v", err)
			assert.Same(t, socket, s.gone(t, c.reason).socket, "another socket left")
			bystander.send(`421["message-with-ack","fine"]`)
			bystander.expect(`431["fine"]`)
		})
	}
	assert.Equal(t, 1, s.root.Len(), "sockets left")
}

// An event before any CONNECT.
func TestNoConnect(t *testing.T) {
	s := newServer(t, nil)
	for _, m := range []string{`42["message"]`, "41", "430[]"} {
		c := s.open(t)
		c.send(m)
		_, err := c.expectEnd()
		assert.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), "%s: ended with %v", m, err)
	}
}

func TestAttachmentsThatNeverCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &socketio.Options{PingInterval: time.Minute, PingTimeout: time.Second})
		c, _ := s.enter(t)
		c.send(`451-["message",{"_placeholder":true,"num":0}]`)
		time.Sleep(999 * time.Millisecond)
		c.attach([]byte("in time"))
		c.expect(`451-["message-back",{"_placeholder":true,"num":0}]`, "b:in time")
		time.Sleep(10 * time.Second) // no attachment is missing now

		c.send(`452-["message",{"_placeholder":true,"num":0}]`)
		c.attach([]byte("one of two"))
		began := time.Now()
		_, err := c.expectEnd()
		took := time.Since(began)
		assert.Equal(t, time.Second, took, "ended after %v: %v", took, err)
		assert.Equal(t, websocket.StatusProtocolError, websocket.CloseStatus(err), "ended after %v: %v", took, err)
		s.gone(t, socketio.ParseError)
	})
}

// A client that does not read is disconnected when its queue is full. Others get everything, and emitting does not
// wait.
func TestClientThatStopsReading(t *testing.T) {
	for _, c := range []struct {
		name string
		opts socketio.Options
		size int
	}{
		{"packets", socketio.Options{MaxQueue: 10}, 10},
		{"bytes", socketio.Options{MaxQueueBytes: 100_000}, 10_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, &c.opts)
			_, deaf := s.enter(t)
			reader, _ := s.enter(t)
			text := strings.Repeat("x", c.size)
			for i := range 20 {
				require.NoError(t, s.root.Emit(t.Context(), "news", i, text))
				reader.expect(fmt.Sprintf(`42["news",%d,%q]`, i, text))
			}
			assert.Same(t, deaf, s.gone(t, socketio.SlowClient).socket, "the wrong one was disconnected")
			assert.Equal(t, 1, s.root.Len(), "sockets left")
		})
	}
}

// Emit returns an error for a full queue.
func TestEmitToFullQueue(t *testing.T) {
	s := newServer(t, &socketio.Options{MaxQueue: 10})
	_, deaf := s.enter(t)
	var err error
	for n := 0; err == nil; n++ {
		err = deaf.Emit("news")
		require.LessOrEqual(t, n, 1000, "the queue has no end")
	}
	assert.ErrorIs(t, err, socketio.ErrDisconnected)
	_, err = deaf.EmitWithAck(t.Context(), "news")
	assert.ErrorIs(t, err, socketio.ErrDisconnected)
	s.gone(t, socketio.SlowClient)
}

// Volatile events are dropped for a slow client, which stays connected.
func TestVolatile(t *testing.T) {
	s := newServer(t, &socketio.Options{MaxQueue: 10})
	c, socket := s.enter(t)
	for i := range 50 {
		require.NoError(t, s.root.All().Volatile().Emit(t.Context(), "tick", i))
	}
	require.NoError(t, socket.Emit("last"))
	got := 0
	for c.read() != `42["last"]` {
		got++
	}
	// Half of ten, unless the packet before them still counts.
	left := s.Stats().Volatile
	assert.GreaterOrEqual(t, got, 4, "%d were left out", left)
	assert.Equal(t, 50, got+int(left), "%d came, %d were left out", got, left)
}

// A client that neither reads nor gets many packets is detected by its missing pong.
func TestClientThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		s.enter(t)
		began := time.Now()
		s.gone(t, socketio.PingTimeout)
		assert.Equal(t, 45*time.Second, time.Since(began), "noticed")
	})
}

// A client that is disconnected and does not read the farewell has CloseTimeout.
func TestFarewellThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &socketio.Options{CloseTimeout: time.Second})
		c, _ := s.enter(t)
		c.send("4abc")
		began := time.Now()
		s.gone(t, socketio.ParseError) // removed from the fleet at once
		assert.Zero(t, time.Since(began), "left")
		for s.Stats().Connections > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		assert.LessOrEqual(t, time.Since(began), 1100*time.Millisecond, "given up")
	})
}

// Clients that connect and disconnect, a thousand a second and some of them badly, leave nothing behind: no goroutine,
// no memory, no socket.
func TestChurn(t *testing.T) {
	s := newServer(t, &socketio.Options{PingInterval: time.Hour}) // no ping, however long it takes
	tcp := httptest.NewServer(s.Server)                           // real connections
	defer tcp.Close()
	url := "ws" + strings.TrimPrefix(tcp.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	bystander, _ := s.enter(t)

	churn := func(total int) (rate float64) {
		var next atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for range 16 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(total); i = next.Add(1) {
					if err := comeAndGo(t.Context(), url, int(i)); err != nil {
						t.Errorf("client %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		rate = float64(total) / time.Since(began).Seconds()
		for s.Stats().Connections > 1 {
			runtime.Gosched()
		}
		for len(s.connected) > 0 {
			<-s.connected
		}
		for len(s.left) > 0 {
			<-s.left
		}
		return rate
	}
	churn(500) // pools and caches are filled
	goroutines, memory := footprint()
	rate := churn(3000)
	bystander.send(`421["message-with-ack","fine"]`)
	bystander.expect(`431["fine"]`)
	var g int
	var m uint64
	for deadline := time.Now().Add(patience); ; {
		if g, m = footprint(); g <= goroutines && m <= memory+1<<20 || time.Now().After(deadline) {
			break
		}
	}
	t.Logf("%.0f connects and disconnects a second; goroutines %d before, %d after; heap %d KiB before, %d KiB after", rate, goroutines, g, memory>>10, m>>10)
	assert.LessOrEqual(t, g, goroutines, "something is left behind")
	assert.LessOrEqual(t, m, memory+1<<20, "something is left behind")
	assert.Equal(t, 1, s.root.Len())
	assert.EqualValues(t, 3501, s.Stats().Opened)
}

func footprint() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// comeAndGo connects, enters, and leaves in one of several ways.
func comeAndGo(ctx context.Context, url string, i int) error {
	ws, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	if i%5 == 0 {
		return nil // not even the handshake is read
	}
	if err := ws.Write(ctx, websocket.MessageText, []byte("40")); err != nil {
		return err
	}
	for range 3 { // handshake, CONNECT, the event "auth"
		if _, _, err := ws.Read(ctx); err != nil {
			return err
		}
	}
	switch i % 5 {
	case 1:
		return ws.Close(websocket.StatusNormalClosure, "")
	case 2:
		return ws.Write(ctx, websocket.MessageText, []byte("41"))
	case 3:
		ws.Write(ctx, websocket.MessageText, []byte("4nonsense"))
		if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusProtocolError {
			return fmt.Errorf("nonsense was answered with %w", err)
		}
	case 4:
		ws.Write(ctx, websocket.MessageText, []byte(`452-["message"]`))
	}
	return nil
}
