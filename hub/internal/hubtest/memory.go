package hubtest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/hub"
)

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
