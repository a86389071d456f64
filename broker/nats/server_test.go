package natsbroker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/internal/servers"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", " ", ",", "redis://localhost", "nats://", "nats://u:secret@", "ws://localhost", "nats://u:secret@host:x", "nats://a,http://b"} {
		var refused *natsbroker.AddressError
		b, err := natsbroker.Open(address, nil)
		if !errors.As(err, &refused) {
			t.Errorf("address %q: %v, want an *AddressError", address, err)
			if err == nil {
				b.Close(t.Context())
			}
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
	var refused *natsbroker.PrefixError
	_, err := natsbroker.Open("localhost", &natsbroker.Options{Prefix: "a.*"})
	assert.ErrorAs(t, err, &refused, "prefix a.*")
	_, err = natsbroker.New(nil, nil)
	assert.Error(t, err, "a nil connection is accepted")
	wrong := errors.New("wrong option")
	_, err = natsbroker.Open("localhost", &natsbroker.Options{NATS: []nats.Option{nil, func(*nats.Options) error { return wrong }}})
	assert.ErrorIs(t, err, wrong, "a failing option")
	b := open(t, "nats://localhost:1,localhost:2", nil) // no I/O
	_, err = b.Subscribe(t.Context(), nil, broker.Exactly(room))
	assert.Error(t, err, "a nil receiver is accepted")
	for _, err := range []error{second(b.Subscribers(t.Context(), room)), second(b.Responders(t.Context(), broker.Native, "/"))} {
		assert.Equal(t, errors.ErrUnsupported, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestConnectionStaysItsOwners: New copies from a connection how to reach the server, and does not
// use it: no subscription, no message, no call of a handler, no close.
func TestConnectionStaysItsOwners(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{User: "me", Password: "s3cret", TLS: true, MaxPayload: 200_000})
	var events, closed atomic.Int64
	count := func(*nats.Conn) { events.Add(1) }
	own, err := nats.Connect(srv.URL(), nats.RootCAs(srv.CA()), nats.Name("our app"), nats.NoEcho(),
		nats.ReconnectHandler(count), nats.ConnectHandler(count), nats.DisconnectErrHandler(func(nc *nats.Conn, _ error) { count(nc) }),
		nats.DiscoveredServersHandler(count), nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, _ error) { count(nc) }),
		nats.ClosedHandler(func(*nats.Conn) { closed.Add(1) }))
	require.NoError(t, err)
	defer own.Close()
	require.NoError(t, own.Flush())
	before := own.Stats()
	b, err := natsbroker.New(own, quick())
	require.NoError(t, err)
	defer b.Close(t.Context())
	got := b.Capabilities().MaxPayload
	assert.Positive(t, got, "MaxPayload of a server that accepts 200,000 bytes")
	assert.Less(t, got, 200_000, "MaxPayload of a server that accepts 200,000 bytes")
	r := record(t)
	sub := subscribe(t, b, r, broker.Exactly(room), broker.Native.EveryRoom("/"))
	publish(t, b, room, "over TLS")
	flush(t, b)
	r.Want(room, "over TLS") // although the connection has NoEcho

	var about struct {
		Connections []struct {
			Name string `json:"name"`
			User string `json:"authorized_user"`
		} `json:"connections"`
	}
	err = srv.Monitor(t.Context(), "/connz?auth=1", &about)
	require.NoError(t, err, "/connz: %+v", about)
	require.Len(t, about.Connections, 2, "/connz: %+v", about)
	for _, c := range about.Connections {
		assert.Equal(t, "our app", c.Name, "a connection")
		assert.Equal(t, "me", c.User, "a connection")
	}
	require.NoError(t, sub.Close(t.Context()))
	require.NoError(t, b.Close(t.Context()))
	after := own.Stats()
	assert.Zero(t, own.NumSubscriptions(), "the connection was used")
	assert.Equal(t, before.OutMsgs, after.OutMsgs, "the connection was used")
	assert.Equal(t, before.InMsgs, after.InMsgs, "the connection was used")
	assert.True(t, own.IsConnected(), "the connection was closed")
	assert.Zero(t, closed.Load(), "the connection was closed")
	// One event is that of its own connect handler.
	assert.EqualValues(t, 1, events.Load(), "its handlers were called")
}

// TestConnectionMayGo closes the connection that the broker was made from.
func TestConnectionMayGo(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	own, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	b, err := natsbroker.New(own, quick())
	require.NoError(t, err)
	closeLater(t, b)
	own.Close()
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "without it")
	r.Want(room, "without it")
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{User: "me", Password: "right"})
	opts := quick()
	opts.QueueAge = 200 * time.Millisecond
	brokertest.WrongPassword(t, open(t, "nats://me:wrong@"+srv.Addr(), opts), func(err error) bool {
		return errors.Is(err, nats.ErrAuthorization) && strings.Contains(err.Error(), srv.Addr()) && !strings.Contains(err.Error(), "wrong")
	}, natsbroker.ErrTooOld)
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{TLS: true})
	b := open(t, srv.URL(), quick())
	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	require.ErrorContains(t, err, "certificate", "Subscribe")
}

// TestPermissions: only the refused call fails.
func TestPermissions(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: `authorization { users: [ { user: node, password: pw, permissions: {
		publish: ["crossroom.native.cast./chat.>"], subscribe: ["crossroom.native.cast./chat.>"] } } ] }`})
	b := open(t, "nats://node:pw@"+srv.Addr(), quick())
	brokertest.Permissions(t, b, broker.Native, func(err error, _ string) bool { return errors.Is(err, nats.ErrPermissionViolation) })
	// A refused filter that EveryRoom selects too is unsubscribed after a delay.
	eventually(t, func() error {
		var about struct {
			Connections []struct {
				List []string `json:"subscriptions_list"`
			} `json:"connections"`
		}
		if err := srv.Monitor(t.Context(), "/connz?subs=1", &about); err != nil {
			return err
		}
		if len(about.Connections) != 1 || len(about.Connections[0].List) != 2 {
			return fmt.Errorf("the server has %v, want one connection with the two live filters", about.Connections)
		}
		return nil
	})
}

// TestRefusedNames: a refusal is parsed correctly whatever the name of the room is.
func TestRefusedNames(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: `authorization { users: [ { user: node, password: pw, permissions: {
		publish: ["crossroom.native.control"], subscribe: ["crossroom.native.control"] } } ] }`})
	b := open(t, "nats://node:pw@"+srv.Addr(), quick())
	for _, name := range []string{"plain", `"quoted"`, `back\slash`, "it's", "\u2028", "\u00a0", "\u200b", "é", "tab\t", "🚀", strings.Repeat(`"`, 1000), strings.Repeat("\u2028", 300)} {
		ch := broker.Native.Room("/", name)
		_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(ch))
		assert.ErrorIs(t, err, nats.ErrPermissionViolation, "Subscribe to room %.20q", name)
		publish(t, b, ch, "forbidden")
		assert.ErrorIs(t, b.Flush(within(t, patience)), nats.ErrPermissionViolation, "Flush after a message for room %.20q", name)
	}
}

// TestRefusedTogether: concurrent calls of Subscribe to a denied subject are each refused.
func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: `authorization { users: [ { user: node, password: pw, permissions: {
		publish: ["crossroom.native.control"], subscribe: ["crossroom.native.control"] } } ] }`})
	b := open(t, "nats://node:pw@"+srv.Addr(), quick())
	sub := subscribe(t, b, record(t), broker.Exactly(broker.Control()))
	for range 20 {
		results := make(chan error)
		const n = 8
		for i := range n {
			go func() {
				if i%2 == 0 {
					results <- sub.Add(within(t, patience), broker.Exactly(room))
					return
				}
				_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
				results <- err
			}()
		}
		for range n {
			assert.ErrorIs(t, <-results, nats.ErrPermissionViolation)
		}
	}
	s := b.Stats()
	assert.Equal(t, 1, s.Subscriptions)
	assert.Zero(t, s.Interruptions)
}

// TestMaxPayload: when a server accepts less than the options say, Publish refuses larger
// payloads as soon as the limit is known. Messages accepted before are lost and reported.
func TestMaxPayload(t *testing.T) {
	t.Parallel()
	const limit = 50_000
	srv := servers.StartNATS(t, &servers.NATSOptions{MaxPayload: limit})
	b := open(t, srv.URL(), quick())
	losses := watchLosses(t, b)
	caps := b.Capabilities()
	require.Greater(t, caps.MaxPayload, limit, "MaxPayload by default")
	srv.Stop()
	publish(t, b, room, strings.Repeat("x", limit)) // the limit is not known yet
	publish(t, b, room, "small")
	srv.Restart()
	err := b.Flush(within(t, patience))
	var large *broker.PayloadError
	var loss *broker.LossError
	if !errors.As(err, &loss) || loss.Messages != 1 || loss.Uncertain || !errors.As(err, &large) || large.Size != limit || large.Max >= limit || large.Max < limit-100 {
		t.Fatalf("Flush: %v, want one message lost for its size", err)
	}
	err = b.Publish(within(t, patience), room, make([]byte, limit))
	large = nil
	require.ErrorAs(t, err, &large)
	require.Equal(t, limit, large.Size, "Publish")
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	whole := strings.Repeat("y", large.Max)
	publish(t, b, room, whole)
	r.Want(room, whole)
	flush(t, b)
	<-losses.Came
	s := balanced(t, b, losses)
	require.EqualValues(t, 2, s.Sent)
	require.EqualValues(t, 1, s.Lost)
	require.EqualValues(t, 3, s.Accepted)
	assert.Equal(t, caps, b.Capabilities(), "Capabilities changed")
}

func TestDialerThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	b, err := natsbroker.Open("localhost:4222", &natsbroker.Options{NATS: []nats.Option{nats.SetCustomDialer(hanging{release})}})
	require.NoError(t, err)
	brokertest.DialerThatHangs(t, b)
}

type hanging struct{ release <-chan struct{} }

func (h hanging) Dial(string, string) (net.Conn, error) {
	<-h.release
	return nil, errors.New("released")
}

// TestForeignMessages: messages of other programs that have no frame, or a frame that does not belong
// to the subject, are ignored.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	nc, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	defer nc.Close()
	b := open(t, srv.URL(), nil)
	r := record(t)
	ns := strings.Repeat("long", 500)
	long := broker.Native.Room(ns, "r")
	subscribe(t, b, r, broker.Native.EveryRoom("/"), broker.Native.EveryRoom(ns), broker.Exactly(broker.Control()))
	frame := "\x01sevenby12345678"
	for _, m := range [][2]string{
		{"crossroom.native.cast./.room.x", ""},
		{"crossroom.native.cast./.room.x", "not a frame"},
		{"crossroom.native.cast./.room.x", "\x03" + frame[1:] + "another kind of frame"},
		{"crossroom.native.cast./.room.x", "\x02" + frame[1:] + "\x01/\x01y" + "names of another room"},
		{"crossroom.native.cast./.room.x", "\x02" + frame[1:] + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		{"crossroom.native.cast./.other", frame + "an unknown word"},
		{"crossroom.native.cast./.room.%41", frame + "not escaped like that"},
		{"crossroom.native.cast./.room.x.y", frame + "a token too many"},
		{"crossroom.native.cast./.room.%h" + strings.Repeat("0", 64), frame + "a hash without a name"},
		{"crossroom.native.cast./.room.%h" + strings.Repeat("0", 64), "\x02" + frame[1:] + "\x01/\x01y" + "a hash of nothing"},
		{"crossroom.native.cast./.room.\xff", frame + "not UTF-8"},
	} {
		require.NoError(t, nc.Publish(m[0], []byte(m[1])))
	}
	require.NoError(t, nc.Publish("crossroom.native.cast./.room.x", []byte(frame+"a good one")))
	r.Want(broker.Native.Room("/", "x"), "a good one")
	publish(t, open(t, srv.URL(), nil), long, "after all")
	r.Want(long, "after all")
}

// TestForgedNumbers: forged messages with another broker's id do not keep subscribers from getting
// that broker's messages, whatever their numbers are.
func TestForgedNumbers(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	nc, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	defer nc.Close()
	tap, err := nc.SubscribeSync("crossroom.native.cast./.room.room")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	victim, b := open(t, srv.URL(), quick()), open(t, srv.URL(), quick())
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room), broker.Native.EveryRoom("/"))
	ahead := func(n uint64) func(uint64) uint64 { return func(last uint64) uint64 { return last + n } }
	is := func(n uint64) func(uint64) uint64 { return func(uint64) uint64 { return n } }
	for i, forge := range []func(last uint64) uint64{
		ahead(1), ahead(50), ahead(1000), ahead(1<<20 - 1), is(1<<64 - 1), is(1<<64 - 1), is(1 << 63), is(1 << 40), is(0), ahead(100),
	} {
		publish(t, victim, room, "before")
		flush(t, victim)
		r.Want(room, "before")
		m, err := tap.NextMsg(patience)
		require.NoError(t, err)
		forged := forge(binary.BigEndian.Uint64(m.Data[8:]))
		frame := binary.BigEndian.AppendUint64(slices.Clone(m.Data[:8]), forged)
		require.NoError(t, nc.Publish(m.Subject, append(frame, "forged"...)))
		require.NoError(t, nc.Flush())
		for range 100 {
			publish(t, victim, room, fmt.Sprint("after ", i))
		}
		flush(t, victim)
		for n := 0; n < 100; {
			switch c := r.Next(); {
			case c.Payload == "forged" && forged > 0:
			case c.Payload != fmt.Sprint("after ", i):
				t.Fatalf("got %v after a message with the number %d", c, forged)
			default:
				n++
			}
		}
		for range 101 { // including the forged one
			_, err := tap.NextMsg(patience)
			require.NoError(t, err)
		}
	}
	r.WantNothing()
}

// TestPermissionsAreSeparate: a broker that may not subscribe to a subject may publish on it without a
// loss, and a broker that may not publish may subscribe.
func TestPermissionsAreSeparate(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: `authorization { users: [
		{ user: all, password: p }
		{ user: talks, password: p, permissions: { publish: ">", subscribe: "crossroom.native.control" } }
		{ user: hears, password: p, permissions: { publish: "crossroom.native.control", subscribe: ">" } }
	] }`})
	as := func(user string) *natsbroker.Broker { return open(t, "nats://"+user+":p@"+srv.Addr(), quick()) }
	r := record(t)
	subscribe(t, as("all"), r, broker.Exactly(room))

	talks := as("talks")
	_, err := talks.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	require.ErrorIs(t, err, nats.ErrPermissionViolation)
	publish(t, talks, room, "allowed")
	flush(t, talks)
	r.Want(room, "allowed")

	hears := as("hears")
	subscribe(t, hears, record(t), broker.Exactly(broker.Control()))
	publish(t, hears, room, "not allowed")
	require.ErrorIs(t, hears.Flush(within(t, patience)), nats.ErrPermissionViolation)
	subscribe(t, hears, record(t), broker.Exactly(room))
}

// TestTooLargeInItsTurn: a message that proves too large for the server is lost
// after the messages before it are settled. A Flush of those does not return it.
func TestTooLargeInItsTurn(t *testing.T) {
	t.Parallel()
	const limit = 50_000
	srv := servers.StartNATS(t, &servers.NATSOptions{MaxPayload: limit})
	b := open(t, srv.URL(), quick())
	srv.Stop()
	publish(t, b, room, "small")
	first := make(chan error, 1)
	ctx := &waitedFor{Context: within(t, patience), begun: make(chan struct{})}
	go func() { first <- b.Flush(ctx) }()
	<-ctx.begun
	publish(t, b, room, strings.Repeat("x", limit))
	srv.Restart()
	assert.NoError(t, <-first, "Flush of the messages before")
	var large *broker.PayloadError
	assert.ErrorAs(t, b.Flush(within(t, patience)), &large)
}

// waitedFor is a context that signals the first call of Done.
type waitedFor struct {
	context.Context
	begun chan struct{}
	once  sync.Once
}

func (w *waitedFor) Done() <-chan struct{} {
	w.once.Do(func() { close(w.begun) })
	return w.Context.Done()
}
