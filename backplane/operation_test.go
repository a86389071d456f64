package backplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/wire"
)

// guarded is a fleet of two nodes, of which the second has a member "m" in the room "r" and the given options.
func guarded(t *testing.T, opts *backplane.NamespaceOptions, core backplane.Options) (asker, here *backplane.Namespace, m *socket, stats func() (refused, broadcasts uint64)) {
	bus := memorybroker.NewBus(nil)
	open := func(o *backplane.Options, nsOpts *backplane.NamespaceOptions) (*backplane.Node, *backplane.Namespace) {
		n, err := backplane.New(bus.Broker(), o)
		require.NoError(t, err)
		ns, err := n.Namespace(t.Context(), "ns", nsOpts)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, n.Close(context.Background())) })
		return n, ns
	}
	n, here := open(&core, opts)
	_, asker = open(nil, nil)
	m = newSocket("m")
	require.NoError(t, here.Add(t.Context(), m))
	require.NoError(t, here.Join(t.Context(), "m", "r"))
	return asker, here, m, func() (uint64, uint64) { st := n.Stats(); return st.Refused, st.RefusedBroadcasts }
}

// 70 bytes disconnected everybody, and nothing was logged. Each kind of operation can be refused: it changes nothing,
// its sender gets an error where one is possible, and it is counted and reported.
func TestRefuse(t *testing.T) {
	all := func(kind backplane.Operations) *backplane.NamespaceOptions {
		return &backplane.NamespaceOptions{Refuse: kind}
	}
	hook := func(kind backplane.Operations) *backplane.NamespaceOptions {
		return &backplane.NamespaceOptions{OnOperation: func(op *backplane.Operation) error {
			if op.Kind == kind {
				return errors.New("not yours")
			}
			return nil
		}}
	}
	for _, c := range []struct {
		kind backplane.Operations
		do   func(ctx context.Context, ns *backplane.Namespace) error
		mute bool // the sender gets no error
	}{
		{kind: backplane.Broadcasts, mute: true, do: func(ctx context.Context, ns *backplane.Namespace) error {
			return ns.Broadcast(ctx, []byte("x"), backplane.To("r"))
		}},
		{kind: backplane.AckBroadcasts, do: func(ctx context.Context, ns *backplane.Namespace) error {
			_, err := ns.BroadcastAck(ctx, []byte("x"), backplane.To("r"), time.Second)
			return err
		}},
		{kind: backplane.Queries, do: func(ctx context.Context, ns *backplane.Namespace) error {
			_, err := ns.Members(ctx, backplane.To("r"))
			return err
		}},
		{kind: backplane.Queries, do: func(ctx context.Context, ns *backplane.Namespace) error {
			_, err := ns.AllRooms(ctx)
			return err
		}},
		{kind: backplane.Queries, do: func(ctx context.Context, ns *backplane.Namespace) error {
			_, err := ns.RoomsOf(ctx, "m")
			return err
		}},
		{kind: backplane.Joins, do: func(ctx context.Context, ns *backplane.Namespace) error {
			_, err := ns.JoinAll(ctx, backplane.To("r"), "other")
			return err
		}},
		{kind: backplane.Joins, do: func(ctx context.Context, ns *backplane.Namespace) error { return ns.Join(ctx, "m", "other") }},
		{kind: backplane.Leaves, do: func(ctx context.Context, ns *backplane.Namespace) error { return ns.Leave(ctx, "m", "r") }},
		{kind: backplane.Disconnects, do: func(ctx context.Context, ns *backplane.Namespace) error {
			return ns.Disconnect(ctx, "m", true)
		}},
		{kind: backplane.Disconnects, do: func(ctx context.Context, ns *backplane.Namespace) error {
			_, err := ns.DisconnectAll(ctx, backplane.All(), true)
			return err
		}},
		{kind: backplane.Events, mute: true, do: func(ctx context.Context, ns *backplane.Namespace) error { return ns.Event(ctx, []byte("x")) }},
	} {
		for name, opts := range map[string]*backplane.NamespaceOptions{"Refuse": all(c.kind), "OnOperation": hook(c.kind)} {
			t.Run(c.kind.String()+" by "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var mu sync.Mutex
					var reports []error
					asker, here, m, stats := guarded(t, opts, backplane.Options{OnError: func(err error) {
						mu.Lock()
						defer mu.Unlock()
						reports = append(reports, err)
					}})
					err := c.do(t.Context(), asker)
					synctest.Wait()
					if c.mute {
						require.NoError(t, err)
					} else {
						var partial *backplane.PartialError
						require.ErrorAs(t, err, &partial)
						reason := partial.Coverage.Missing[0].Reason
						require.ErrorIs(t, reason, backplane.ErrRefused)
						assert.ErrorContains(t, reason, "operation refused")
					}
					requests, broadcasts := stats()
					assert.Equal(t, uint64(1), requests+broadcasts, "counted")
					mu.Lock()
					defer mu.Unlock()
					require.Len(t, reports, 1)
					assert.ErrorIs(t, reports[0], backplane.ErrRefused)
					rooms, _ := here.LocalRoomsOf("m")
					assert.ElementsMatch(t, []string{"m", "r"}, rooms, "nothing has changed")
					assert.Empty(t, m.got, "nothing was delivered")
					assert.Empty(t, m.gone, "nothing was disconnected")
				})
			})
		}
	}
}

// The hook sees each operation with its origin, and the log has those that change members.
func TestOnOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var seen []backplane.Operation
		opts := &backplane.NamespaceOptions{OnOperation: func(op *backplane.Operation) error {
			seen = append(seen, *op)
			if op.Kind == backplane.Leaves {
				panic("hook")
			}
			return nil
		}}
		asker, here, _, stats := guarded(t, opts, backplane.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Name: "here"})
		require.NoError(t, asker.Broadcast(t.Context(), []byte("x"), backplane.To("r")))
		require.NoError(t, asker.Join(t.Context(), "m", "other"))
		require.Error(t, asker.Leave(t.Context(), "m", "other"))
		require.ErrorIs(t, asker.Leave(t.Context(), "nowhere", "other"), backplane.ErrNoSuchMember, "that is no operation here")
		for range 50 {
			_, err := asker.DisconnectAll(t.Context(), backplane.To("r"), false)
			require.NoError(t, err)
		}
		narrow := backplane.To("r").InAll("x", "y").Except("z")
		require.NoError(t, asker.Broadcast(t.Context(), []byte("x"), narrow))
		_, err := asker.JoinAll(t.Context(), narrow, "other")
		require.NoError(t, err)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, seen, 55)
		for _, op := range seen[53:] {
			slices.Sort(op.InAll)
			assert.Equal(t, [][]string{{"r"}, {"x", "y"}, {"z"}}, [][]string{op.Rooms, op.InAll, op.Except}, op.Kind.String())
		}
		for _, op := range seen {
			assert.Equal(t, asker.Node().ID(), op.Origin)
			assert.Equal(t, "ns", op.Namespace)
		}
		assert.Equal(t, backplane.Operation{Kind: backplane.Joins, Namespace: "ns", Origin: asker.Node().ID(), Member: "m", Targets: []string{"other"}, Payload: []byte{}}, seen[1])
		refused, _ := stats()
		assert.Equal(t, uint64(1), refused, "a hook that panics refuses")
		rooms, _ := here.LocalRoomsOf("m")
		assert.Contains(t, rooms, "other")
		assert.Equal(t, 5, strings.Count(log.String(), "operation=disconnects"), "%s", log.String())
		assert.Contains(t, log.String(), "origin="+asker.Node().ID())
		assert.Contains(t, log.String(), "more=45")
	})
}

// Another process chooses ids and texts: it cannot make up so many causes that other errors are not reported, or that
// the log is full.
func TestMadeUpOriginsCauseFewReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reports, operations := 0, 0
		opts := &backplane.NamespaceOptions{OnOperation: func(op *backplane.Operation) error {
			if op.Kind == backplane.Disconnects {
				return nil
			}
			return errors.New("not for " + op.Origin + string(op.Payload))
		}}
		_, here, _, _ := guarded(t, opts, backplane.Options{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnError: func(err error) {
				var e *backplane.OpError
				if errors.As(err, &e) {
					reports++
					operations += 1 + e.More
				}
			},
		})
		codec := backplane.NativeCodec()
		attacker := here.Node().Broker()
		for i := range 2000 {
			b, err := codec.AppendBroadcast(nil, "ns", &wire.Broadcast{Origin: fmt.Sprint("made up ", i), Payload: fmt.Append(nil, i)})
			require.NoError(t, err)
			require.NoError(t, attacker.Publish(t.Context(), broker.Native.Broadcast("ns"), b))
			b, err = codec.AppendRequest(nil, "ns", &wire.Request{Op: wire.OpDisconnect, Origin: fmt.Sprint("made up ", i), NoReply: true, Rooms: []string{"nowhere"}})
			require.NoError(t, err)
			require.NoError(t, attacker.Publish(t.Context(), broker.Native.Requests("ns"), b))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, 5, reports)
		assert.Equal(t, 2000, operations)
		assert.Equal(t, 5, strings.Count(log.String(), "operation=disconnects"))
		assert.Zero(t, here.Node().Stats().Unreported)
	})
}

func TestRefusedOptions(t *testing.T) {
	n, err := backplane.New(memorybroker.New(nil), nil)
	require.NoError(t, err)
	_, err = n.Namespace(t.Context(), "ns", &backplane.NamespaceOptions{Refuse: backplane.AllOperations + 1})
	var option *backplane.OptionError
	require.ErrorAs(t, err, &option)
	assert.Equal(t, "Refuse", option.Option)
	require.NoError(t, n.Close(t.Context()))
}
