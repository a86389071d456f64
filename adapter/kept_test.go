package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// heavy is a socket of 1 MB that keeps no packet.
type heavy struct {
	id  string
	got chan struct{}
	_   [1 << 20]byte
}

func (s *heavy) ID() string              { return s.id }
func (s *heavy) Disconnect(bool)         {}
func (s *heavy) Deliver(*adapter.Packet) { s.got <- struct{}{} }

// A closed namespace leaves no socket, no name and no large message in the memory of its
// server, on any broker.
func TestNothingKept(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) func() (broker.Broker, error){
		"memory": func(*testing.T) func() (broker.Broker, error) {
			bus := memorybroker.NewBus(nil)
			return func() (broker.Broker, error) { return bus.Broker(), nil }
		},
		"redis": func(t *testing.T) func() (broker.Broker, error) {
			srv := servers.StartRedis(t, nil)
			return func() (broker.Broker, error) { return redisbroker.Open(srv.URL(), nil) }
		},
		"nats": func(t *testing.T) func() (broker.Broker, error) {
			srv := servers.StartNATS(t, nil)
			return func() (broker.Broker, error) { return natsbroker.Open(srv.URL(), nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nothingKept(t, open(t))
		})
	}
}

func nothingKept(t *testing.T, open func() (broker.Broker, error)) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	var pair []*adapter.Server
	for range 2 {
		b, err := open()
		must(err)
		defer b.Close(context.Background())
		server, err := adapter.New(b, &adapter.Options{Heartbeat: 100 * time.Millisecond, OnError: func(err error) { t.Log(err) }})
		must(err)
		defer server.Close(context.Background())
		pair = append(pair, server)
	}
	first, err := pair[1].Of(ctx, "/first")
	must(err)
	_, err = pair[0].Of(ctx, "/first") // stays open
	must(err)
	must(eventuallyNil(ctx, func() error {
		if n, err := first.ServerCount(ctx); n != 2 {
			return fmt.Errorf("%d servers, %v", n, err)
		}
		return nil
	}))

	const n = 30
	type traces struct {
		name    string
		socket  weak.Pointer[heavy]
		ns      weak.Pointer[adapter.Namespace]
		payload weak.Pointer[byte]
	}
	var left []traces
	func() {
		// All at the same time: a server may remember something about the last one that it
		// closed.
		var all []*adapter.Namespace
		var sockets []*heavy
		for i := range n {
			large := fmt.Sprintf("/ns-%03d-%s", i, strings.Repeat("x", 1<<20)) // of which the name is a part
			name := large[:40]
			here, err := pair[0].Of(ctx, name)
			must(err)
			there, err := pair[1].Of(ctx, strings.Clone(name))
			must(err)
			s, far := &heavy{id: fmt.Sprint("a", i), got: make(chan struct{}, 10)}, &heavy{id: fmt.Sprint("b", i), got: make(chan struct{}, 10)}
			must(here.Add(ctx, s))
			must(there.Add(ctx, far))
			must(eventuallyNil(ctx, func() error { return here.Join(ctx, far.id, "room") }))
			_, err = here.All().FetchSockets(ctx)
			must(err)
			must(there.All().SocketsJoin(ctx, strings.Clone(large[:50])))
			must(there.Emit(ctx, "hello", strings.Repeat("y", 100_000)))
			must(here.To("room").Emit(ctx, "hello", strings.Repeat("z", 100_000)))
			for _, got := range []chan struct{}{s.got, far.got, far.got} {
				select {
				case <-got:
				case <-ctx.Done():
					t.Fatal("nothing came")
				}
			}
			all, sockets = append(all, here), append(sockets, s)
			left = append(left, traces{strings.Clone(name), weak.Make(s), weak.Make(here), weak.Make(unsafe.StringData(large))})
		}
		for i, ns := range all {
			if i%2 == 0 {
				ns.Remove(sockets[i].id)
			}
			must(ns.Close(ctx))
		}
	}()
	must(eventuallyNil(ctx, func() error {
		runtime.GC()
		var errs []error
		for _, l := range left {
			if l.socket.Value() != nil || l.ns.Value() != nil || l.payload.Value() != nil {
				errs = append(errs, fmt.Errorf("of %s: socket %t, namespace %t, what its name is part of %t", l.name, l.socket.Value() != nil, l.ns.Value() != nil, l.payload.Value() != nil))
			}
		}
		return errors.Join(errs...)
	}))
}

// eventuallyNil repeats try until it returns nil, or ctx ends.
func eventuallyNil(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond): // between two checks
		}
	}
}
