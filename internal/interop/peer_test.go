package interop_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

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

// TestPeerWatched checks that a process that dies is noticed: every generation dies
// of a broadcast that it cannot decode.
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
			if _, err := p.Call(ctx, "namespace", args{"nsp": "/x"}); err != nil {
				t.Fatal(err)
			}
			if err := watcher.Publish(ctx, string(g)+"#/x#", "\xc1"); err != nil {
				t.Fatal(err)
			}
			// An operation that waits for the process's end, should it go on.
			for {
				if _, err := p.Call(ctx, "flush", nil); err != nil {
					break
				}
			}
			if ctx.Err() != nil {
				t.Fatal("the process is still there")
			}
			rec.end()
			if all := strings.Join(rec.failures, "\n"); !strings.Contains(all, "uncaughtException") || !strings.Contains(all, "ended by itself") {
				t.Errorf("the test heard: %s", all)
			}
		})
	}
}

func TestPeerOperationsFail(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	p := interop.Start(t, interop.Config{Generation: v8, Name: "a", Redis: redis.URL(), Prefix: "p"})
	_, err := p.Call(t.Context(), "no such thing", nil)
	var failed *interop.CallError
	if !errors.As(err, &failed) || failed.Op != "no such thing" {
		t.Errorf("unknown operation: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Call(ctx, "flush", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	p.Stop()
	p.Stop()
	if _, err := p.Call(t.Context(), "flush", nil); err == nil {
		t.Error("a stopped peer performed an operation")
	}
}

// TestWatcher checks that the watcher sees messages in order and is not counted.
func TestWatcher(t *testing.T) {
	redis := servers.StartRedis(t, nil)
	w := interop.Watch(t, redis.URL())
	for i := range 3 {
		if err := w.Publish(t.Context(), "channel", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.Since(t.Context())
	if want := "[{channel 0} {channel 1} {channel 2}]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v; want %s", got, err, want)
	}
	if got, err := w.Since(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v; want nothing more", got, err)
	}
	if count := redis.Do("PUBSUB", "NUMSUB", "channel"); fmt.Sprint(count) != "[channel 0]" {
		t.Errorf("NUMSUB says %v", count)
	}
}
