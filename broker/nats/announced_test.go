package natsbroker_test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/internal/servers"
)

// listensIn is a server without TLS that records what clients send.
type listensIn struct {
	net.Listener
	clients chan struct{} // has a value for each connection that has ended

	mu   sync.Mutex
	text strings.Builder
}

func listenIn(t *testing.T) *listensIn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &listensIn{Listener: l, clients: make(chan struct{}, 1000)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return s
}

func (s *listensIn) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.clients <- struct{}{}
	}()
	fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":\"2.10.0\",\"max_payload\":1048576,\"auth_required\":true}\r\n")
	r := bufio.NewReader(c)
	for range 2 { // CONNECT and PING
		line, err := r.ReadString('\n')
		s.mu.Lock()
		s.text.WriteString(line)
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *listensIn) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestAnnouncedServerWithoutTLS: a server without TLS that the cluster announces gets no credentials of a broker that is
// connected by TLS.
func TestAnnouncedServerWithoutTLS(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"tls", "nats"} { // with nats:// the server demands TLS
		for _, credentials := range []string{"address", "option"} {
			t.Run(scheme+" "+credentials, func(t *testing.T) {
				t.Parallel()
				plain := listenIn(t)
				route := servers.FreePort(t)
				srv := servers.StartNATS(t, &servers.NATSOptions{User: "me", Password: "s3cret", TLS: true,
					Config: fmt.Sprintf("cluster { name: x, listen: \"127.0.0.1:%d\" }", route)})
				servers.StartNATS(t, &servers.NATSOptions{Config: fmt.Sprintf(
					"client_advertise: %q\ncluster { name: x, listen: \"127.0.0.1:-1\", routes: [\"nats://127.0.0.1:%d\"] }", plain.Addr(), route)})
				eventually(t, func() error {
					var about struct {
						URLs []string `json:"connect_urls"`
					}
					if err := srv.Monitor(t.Context(), "/varz", &about); err != nil || !slices.Contains(about.URLs, plain.Addr().String()) {
						return fmt.Errorf("announced: %v, %w", about.URLs, err)
					}
					return nil
				})
				opts := quick()
				opts.NATS = []nats.Option{nats.Secure(srv.TLS())}
				address := scheme + "://me:s3cret@" + srv.Addr()
				if credentials == "option" {
					address = scheme + "://" + srv.Addr()
					opts.NATS = append(opts.NATS, nats.UserInfo("me", "s3cret"))
				}
				if scheme == "nats" {
					opts.NATS[0] = func(o *nats.Options) error { // does not set Secure
						o.TLSConfig = srv.TLS()
						return nil
					}
				}
				b, err := natsbroker.Open(address, opts)
				require.NoError(t, err)
				closeLater(t, b)
				r := record(t)
				subscribe(t, b, r, broker.Exactly(room))
				srv.Kill()
				for range 3 { // the broker has tried the announced server
					select {
					case <-plain.clients:
					case <-time.After(patience):
						require.Fail(t, "the broker does not try the announced server")
					}
				}
				srv.Restart()
				for r.Next().What != "resumed" {
				}
				assert.NotContains(t, plain.heard(), "s3cret")
				assert.NotContains(t, plain.heard(), "CONNECT")
			})
		}
	}
}
