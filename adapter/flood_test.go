package adapter_test

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

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/peakheap"
	"github.com/crossroom/crossroom/internal/servers"
	"github.com/crossroom/crossroom/internal/wire"
)

// realBrokers are functions that start a server and return one that opens brokers on it.
var realBrokers = map[string]func(t *testing.T) func() broker.Broker{
	"redis": func(t *testing.T) func() broker.Broker {
		srv := servers.StartRedis(t, nil)
		return func() broker.Broker {
			b, err := redisbroker.Open(srv.URL(), nil)
			require.NoError(t, err)
			return b
		}
	},
	"nats": func(t *testing.T) func() broker.Broker {
		srv := servers.StartNATS(t, nil)
		return func() broker.Broker {
			b, err := natsbroker.Open(srv.URL(), nil)
			require.NoError(t, err)
			return b
		}
	},
}

// A flood of unreadable messages on every channel of a server causes few calls of OnError, and each message is in one.
// 100,000 messages caused 33,402 calls.
func TestFloodOfGarbage(t *testing.T) {
	const messages, batch = 100_000, 500
	for name, start := range realBrokers {
		t.Run(name, func(t *testing.T) {
			open := start(t)
			b, forger := open(), open()
			defer forger.Close(context.Background())
			defer b.Close(context.Background())
			var mu sync.Mutex
			calls, reported := 0, 0
			server, err := adapter.New(b, &adapter.Options{OnError: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				calls++
				var d *backplane.MessageError
				if assert.ErrorAs(t, err, &d) {
					reported += 1 + d.More
				}
			}})
			require.NoError(t, err)
			ns, err := server.Of(t.Context(), chat)
			require.NoError(t, err)
			require.NoError(t, ns.Add(t.Context(), newSocket("s")))
			channels := []broker.Channel{
				broker.SocketIO.Broadcast(chat), broker.SocketIO.Room(chat, "s"), broker.SocketIO.Requests(chat),
				broker.SocketIO.Responses(chat), broker.SocketIO.NodeResponses(chat, server.UID()),
			}
			began := time.Now()
			for sent := 0; sent < messages; {
				for range batch {
					sent++
					require.NoError(t, forger.Publish(t.Context(), channels[sent%len(channels)], []byte{0xc1, byte(sent), byte(sent >> 8)}))
				}
				eventually(t, "the messages are read", func() bool { return server.Stats().Links[0].Undecodable == uint64(sent) })
			}
			took := time.Since(began)
			require.NoError(t, server.Close(context.Background()))
			t.Logf("%d messages in %v: %d calls of OnError", messages, took, calls)
			assert.Equal(t, messages, reported, "each is in a report")
			assert.LessOrEqual(t, calls, len(channels)*(4+2+int(took.Seconds())), "four at once for each kind of channel, and one a second")
		})
	}
}

// Responses that a process makes up on a real server change nothing, or are bounded: without the id of a request, in
// endless parts in the name of a known server, and in 20,000 made-up names. With ids in sequence 2 of 8 lists were
// replaced, endless parts took 1,292 MiB, and made-up names stopped a namespace for 6 s.
func TestForgedResponses(t *testing.T) {
	for name, start := range realBrokers {
		t.Run(name, func(t *testing.T) {
			open := start(t)
			gate := make(chan struct{}) // while it is nil or closed, the second server responds
			close(gate)
			var mu sync.Mutex
			var pair []*adapter.Namespace
			for i := range 2 {
				b := open()
				defer b.Close(context.Background())
				opts := &adapter.Options{RequestsTimeout: 30 * time.Second, OnError: func(error) {}}
				if i == 1 {
					opts.OnOperation = func(*backplane.Operation) error {
						mu.Lock()
						wait := gate
						mu.Unlock()
						<-wait
						return nil
					}
				}
				server, err := adapter.New(b, opts)
				require.NoError(t, err)
				defer server.Close(context.Background())
				ns, err := server.Of(t.Context(), chat)
				require.NoError(t, err)
				pair = append(pair, ns)
			}
			require.NoError(t, pair[1].Add(t.Context(), newSocket("sound")))
			here := newSocket("here")
			require.NoError(t, pair[0].Add(t.Context(), here))
			eventually(t, "both know each other", func() bool {
				list, err := pair[0].All().FetchSockets(t.Context())
				return err == nil && len(list.List) == 2
			})
			asker, victim := pair[0].Server(), pair[1].Server().UID()
			forger, codec := open(), socketio.New(socketio.Options{})
			defer forger.Close(context.Background())
			requests := make(chan *wire.Request, 100)
			_, err := forger.Subscribe(t.Context(), receiver(func(ch broker.Channel, payload []byte) {
				r := new(wire.Request)
				if ch.Kind() == broker.KindRequests && codec.DecodeRequest(bytes.Clone(payload), chat, r) == nil {
					requests <- r
				}
			}), broker.SocketIO.Uncounted(chat))
			require.NoError(t, err)
			publish := func(r *wire.Request, id, node string, more bool, members ...wire.MemberInfo) {
				resp := &wire.Response{Request: r, RequestID: id, Node: node, More: more, Members: members}
				buf, err := codec.AppendResponse(nil, chat, resp)
				require.NoError(t, err)
				require.NoError(t, forger.Publish(t.Context(), codec.ResponseChannel(chat, resp), buf))
			}
			stray := func() uint64 { return asker.Stats().Links[0].StrayResponses }

			_, err = pair[0].All().FetchSockets(t.Context())
			require.NoError(t, err)
			last := <-requests
			for n := range 8 {
				for i := range 500 { // what follows the id of the last request, in some form
					publish(last, fmt.Sprint(i+n), victim, false, wire.MemberInfo{ID: "forged"})
					publish(last, fmt.Sprint(last.ID[:len(last.ID)-1], i%10), victim, false, wire.MemberInfo{ID: "forged"})
				}
				list, err := pair[0].All().FetchSockets(t.Context())
				require.NoError(t, err)
				require.Len(t, list.List, 2)
				assert.NotContains(t, []string{list.List[0].ID, list.List[1].ID}, "forged")
				last = <-requests
			}

			// attack has a list made, whose request the forger sees and the second server does not respond to yet.
			attack := func(forge func(r *wire.Request)) (list *adapter.Sockets, took time.Duration, err error) {
				shut := make(chan struct{})
				defer func() { // also if a test ends here
					select {
					case <-shut:
					default:
						close(shut)
					}
				}()
				mu.Lock()
				gate = shut
				mu.Unlock()
				done := make(chan struct{})
				go func() {
					defer close(done)
					list, err = pair[0].All().FetchSockets(t.Context())
				}()
				r := <-requests
				began := time.Now()
				forge(r)
				require.NoError(t, forger.Publish(t.Context(), broker.SocketIO.Broadcast(chat), event("forger", "marked")))
				assert.Equal(t, "marked", here.next(t).Event())
				took = time.Since(began)
				close(shut)
				<-done
				return list, took, err
			}
			// The limit of bytes is reached or, with the race detector, which makes reading slow, that of parts.
			parts, size, most := 600, 60<<10, (64<<20)/(60<<10)
			if raceEnabled {
				parts, size, most = 5000, 1, 4*4096
			}
			part := make([]wire.MemberInfo, 4)
			for i := range part {
				part[i] = wire.MemberInfo{Data: []byte(`{"data":"` + strings.Repeat("x", size) + `"}`)}
			}
			stop := peakheap.Measure()
			list, _, err := attack(func(r *wire.Request) {
				for n := range parts {
					for i := range part {
						part[i].ID = fmt.Sprint("forged", n, " ", i)
					}
					publish(r, r.ID, victim, true, part...)
					if n%8 == 0 { // what waits in the forger's queue is in the same process
						assert.NoError(t, forger.Flush(t.Context()))
					}
				}
			})
			peak := stop()
			assert.ErrorIs(t, err, backplane.ErrTooLarge)
			assert.LessOrEqual(t, len(list.List), most+2)
			t.Logf("%d MiB in endless parts: %d MiB more at most, %d sockets listed", parts*len(part)*size>>20, peak>>20, len(list.List))
			assert.Less(t, peak, int64(320<<20), "64 MiB, as much for the list of them, and what the garbage collector has not freed yet")

			before := stray()
			list, took, err := attack(func(r *wire.Request) {
				for i := range 20_000 {
					publish(r, r.ID, fmt.Sprint("made up ", i), false, wire.MemberInfo{ID: fmt.Sprint("forged", i)})
				}
			})
			t.Logf("20,000 made-up names: %d dropped, %d sockets listed, %v, %v", stray()-before, len(list.List), took, err)
			assert.LessOrEqual(t, len(list.List), 64+2)
		})
	}
}

// What a browser adds to the responses of its server is limited, whether it comes by headers, of which net/http takes
// 1 MB, or by a name. After 20 handshakes with 900 kB of cookies all responses were partial, and the node took 1.7 GB.
func TestLargeHandshakes(t *testing.T) {
	long := strings.Repeat("plain ", 150_000)
	for name, start := range realBrokers {
		for what, about := range map[string]adapter.Description{
			"cookies": {Handshake: &adapter.Handshake{Headers: map[string]any{"cookie": long}}},
			"names":   {Data: long},
		} {
			if raceEnabled && (what == "names") != (name == "nats") {
				continue // reading long texts takes long
			}
			t.Run(name+" "+what, func(t *testing.T) {
				open := start(t)
				var pair []*adapter.Namespace
				reports := &errorList{}
				for range 2 {
					b := open()
					defer b.Close(context.Background())
					server, err := adapter.New(b, &adapter.Options{
						RequestsTimeout: 30 * time.Second, OnError: reports.add,
						Redact: func(*adapter.Handshake) {}, // the default would not list the cookies
					})
					require.NoError(t, err)
					defer server.Close(context.Background())
					ns, err := server.Of(t.Context(), chat)
					require.NoError(t, err)
					pair = append(pair, ns)
				}
				for i := range 20 {
					require.NoError(t, pair[1].Add(t.Context(), &talker{socket: newSocket(fmt.Sprint("s", i)), about: about}))
				}
				require.NoError(t, pair[1].Add(t.Context(), &talker{socket: newSocket("ordinary"), about: adapter.Description{Data: "here"}}))
				eventually(t, "both know each other", func() bool { return pair[0].Join(t.Context(), "ordinary", "r") == nil })
				stop := peakheap.Measure()
				for range 3 {
					list, err := pair[0].All().FetchSockets(t.Context())
					require.NoError(t, err)
					require.Len(t, list.List, 21)
					for _, s := range list.List {
						assert.Equal(t, s.ID == "ordinary", s.Data != nil, s.ID)
						assert.Equal(t, s.ID == "ordinary", s.Handshake != nil, s.ID)
					}
				}
				peak := stop()
				t.Logf("3 lists of 20 sockets with 900 kB of %s: %d MiB more at most", what, peak>>20)
				assert.Less(t, peak, int64(200<<20))
				eventually(t, "a report", func() bool {
					return slices.ContainsFunc(reports.all(), func(err error) bool {
						size, ok := errors.AsType[*broker.PayloadError](err)
						return ok && size.Max == backplane.MaxDescription
					})
				})
			})
		}
	}
}
