package redisbroker_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestMaxRate: with MaxRate a subscriber on a slow link stays connected during a flood, and gets
// every message. Without MaxRate the server disconnects it.
func TestMaxRate(t *testing.T) {
	const size, count, link = 32 << 10, 768, 16 << 20 // 24 MiB over a link of 16 MiB/s
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--client-output-buffer-limit", "pubsub 1mb 0 0"}})
	for _, rate := range []int{0, 8 << 20} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			b, err := redisbroker.Open(srv.URL(), &redisbroker.Options{Prefix: fmt.Sprint("rate", rate), MaxRate: rate, MaxPayload: size})
			require.NoError(t, err)
			defer b.Close(t.Context())
			proxy := tcpproxy.Start(t, srv.Addr())
			proxy.Throttle(link)
			conn, err := net.Dial("tcp", proxy.Addr())
			require.NoError(t, err)
			defer conn.Close()
			fmt.Fprintf(conn, "SUBSCRIBE rate%d-crossroom#/#\r\n", rate)
			r := bufio.NewReader(conn)
			line, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "*3\r\n", line)
			read := make(chan int64, 1)
			go func() {
				n, _ := io.CopyN(io.Discard, r, size*count) // names and lengths are in addition to the payloads
				read <- n
			}()
			began := time.Now()
			for range count {
				require.NoError(t, b.Publish(t.Context(), broker.Native.Broadcast("/"), make([]byte, size)))
			}
			require.NoError(t, b.Flush(t.Context()))
			took := time.Since(began)
			whole := <-read == size*count
			assert.Equal(t, rate > 0, whole, "the subscriber has all messages")
			if rate > 0 && took < time.Duration(size*count/rate)*time.Second-time.Second/4 {
				t.Errorf("%d bytes took %v", size*count, took)
			}
		})
	}
}
