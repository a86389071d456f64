package backplane_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// A node that leaves beside a server that counts is not counted any more. It still responds to
// requests of a server that counted it before, late enough not to be taken for another server's
// response.
func TestLeavingNodeAnswers(t *testing.T) {
	for _, whole := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			var a, b, c atomic.Int64
			f := newFleet(t, 1, backplane.Options{}, func(int) *nsOptions {
				return &nsOptions{Codec: sizes{backplane.NativeCodec(), true, &a, &b, &c}}
			})
			f.socket(0, "member")
			server := f.wire("server")
			ask := func(id string) {
				req := &wire.Request{ID: "server." + id, Origin: "server", Op: wire.OpMembers}
				buf, err := backplane.NativeCodec().AppendRequest(nil, chat, req)
				require.NoError(t, err)
				server.send(requestsChannel, buf)
				settle()
			}
			answered := func(want int) {
				t.Helper()
				assert.Equal(t, want, len(server.saw(broker.KindNodeResponses)), "answers")
			}
			ask("before")
			answered(1)
			closed := make(chan error, 1)
			go func() {
				if whole {
					closed <- f.nodes[0].Close(t.Context())
				} else {
					closed <- f.ns[0].Close(t.Context())
				}
			}()
			settle()
			counts, err := server.b.Subscribers(t.Context(), requestsChannel, broker.Native.NodeResponses(chat, f.nodes[0].ID()))
			if assert.NoError(t, err, "counted %v", counts) {
				assert.Equal(t, 1, counts[0], "counted %v", counts)
				assert.Zero(t, counts[1], "counted %v", counts)
			}
			ask("while it leaves")
			answered(0) // it would be one too many for a server that has just counted
			time.Sleep(time.Second)
			answered(1)
			assert.NoError(t, <-closed)
			ask("afterwards")
			time.Sleep(time.Second)
			answered(0)
		})
	}
}

// The responses that a leaving node delays have a limit in bytes. Further requests have their
// response at once.
func TestLeavingNodeHoldsLittle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var a, b, c atomic.Int64
		f := newFleet(t, 1, backplane.Options{}, func(int) *nsOptions {
			return &nsOptions{
				Codec:     sizes{backplane.NativeCodec(), true, &a, &b, &c},
				OnRequest: func(context.Context, string, []byte) ([]byte, error) { return nil, nil },
			}
		})
		server := f.wire("server")
		closed := make(chan error, 1)
		go func() { closed <- f.nodes[0].Close(t.Context()) }()
		settle()
		const size, over = 1 << 20, 3
		req := &wire.Request{Origin: "server", Op: wire.OpCustom, Payload: make([]byte, size)}
		for i := range backplane.MaxWaitingBytes/size + over - 1 {
			req.ID = fmt.Sprint("server.", i)
			buf, err := backplane.NativeCodec().AppendRequest(nil, chat, req)
			require.NoError(t, err)
			server.send(requestsChannel, buf)
			settle()
		}
		assert.Equal(t, over, len(server.saw(broker.KindNodeResponses)), "requests answered at once")
		assert.NoError(t, <-closed)
		settle()
		n, want := len(server.saw(broker.KindNodeResponses)), backplane.MaxWaitingBytes/size-1
		assert.Equal(t, want, n, "requests answered later")
	})
}

// Where no server counts a leaving node, no request waits for it. An ended context makes it leave
// at once.
func TestLeavingTakesNoTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		began := time.Now()
		if err := f.nodes[0].Close(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		f.wire("server")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = f.nodes[1].Close(ended)
		if d := time.Since(began); d > 0 {
			t.Errorf("with an ended context: after %v", d)
		}
	})
}

// A leaving node may respond to a node that no longer counts it and does not know it. That is not
// the response of a server that was counted and has not introduced itself.
func TestLeavingNodeIsNotTakenForAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{RequestsTimeout: 4 * time.Second}, nil)
		stranger, leaver := f.wire("stranger"), f.wire("")
		answers := []wire.MemberInfo{}
		stranger.onRequest(func(r *wire.Request) {
			leaver.answer(r, "leaver", wire.Response{Members: answers})
			time.AfterFunc(100*time.Millisecond, func() { stranger.answer(r, "stranger", wire.Response{Members: answers}) })
		})
		m, err := f.ns[0].Members(t.Context(), backplane.All())
		assert.Equal(t, []string{"leaver", "stranger"}, m.Answered, "answered")
		assert.NoError(t, err)
		// A counted node that leaves after its response is not waited for.
		closed := make(chan error, 1)
		stranger.onRequest(func(r *wire.Request) {
			stranger.answer(r, "stranger", wire.Response{Members: answers})
			go func() { closed <- stranger.b.Close(context.Background()) }()
		})
		began := time.Now()
		m, err = f.ns[0].Members(t.Context(), backplane.All())
		if assert.Equal(t, []string{"stranger"}, m.Answered, "answered"); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		assert.NoError(t, <-closed)
	})
}
