package interop_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// recorder is a test that may fail without failing this one.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (r *recorder) Errorf(format string, a ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, a...))
}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}

// TestPeerWatched checks that a crash of a process is noticed: every generation crashes
// on a broadcast that it cannot decode.
func TestPeerWatched(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	watcher := interop.Watch(t, redis.URL())
	for _, g := range versions {
		t.Run(string(g), func(t *testing.T) {
			rec := &recorder{TB: t}
			p := interop.Start(rec, interop.Config{Generation: g, Name: "victim", Redis: redis.URL(), Prefix: string(g)})
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			_, err := p.Call(ctx, "namespace", args{"nsp": "/x"})
			require.NoError(t, err)
			require.NoError(t, watcher.Publish(ctx, string(g)+"#/x#", "\xc1"))
			// The operation waits for the crash, if the process is still running.
			for {
				if _, err := p.Call(ctx, "flush", nil); err != nil {
					break
				}
			}
			require.NoError(t, ctx.Err(), "the process is still there")
			rec.end()
			all := strings.Join(rec.failures, "\n")
			assert.Contains(t, all, "uncaughtException", "the test heard")
			assert.Contains(t, all, "ended by itself", "the test heard")
		})
	}
}

func TestPeerOperationsFail(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	p := interop.Start(t, interop.Config{Generation: v8, Name: "a", Redis: redis.URL(), Prefix: "p"})
	_, err := p.Call(t.Context(), "no such thing", nil)
	var failed *interop.CallError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "no such thing", failed.Op, "unknown operation")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Call(ctx, "flush", nil)
	assert.ErrorIs(t, err, context.Canceled, "cancelled")
	p.Stop()
	p.Stop()
	_, err = p.Call(t.Context(), "flush", nil)
	assert.Error(t, err, "a stopped peer performed an operation")
}

// TestWatcher checks that the watcher sees messages in order and is not counted.
func TestWatcher(t *testing.T) {
	redis := servers.StartRedis(t, nil)
	w := interop.Watch(t, redis.URL())
	for i := range 3 {
		require.NoError(t, w.Publish(t.Context(), "channel", fmt.Sprint(i)))
	}
	got, err := w.Since(t.Context())
	want := "[{channel 0} {channel 1} {channel 2}]"
	require.NoError(t, err)
	assert.Equal(t, want, fmt.Sprint(got))
	got, err = w.Since(t.Context())
	require.NoError(t, err)
	assert.Empty(t, got)
	assert.Equal(t, "[channel 0]", fmt.Sprint(redis.Do("PUBSUB", "NUMSUB", "channel")))
}
