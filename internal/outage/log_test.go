//go:build linux

package outage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/servers"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// from returns the lines after the first n.
func (l *lines) from(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(strings.Lines(l.text.String()))[n:]
}

// TestLinesOfAnOutage: a broker that ends and comes back is two lines in the log of each node, with the defaults.
func TestLinesOfAnOutage(t *testing.T) {
	for _, system := range []string{"memory", "redis", "nats"} {
		for _, kind := range []string{"backplane", "adapter"} {
			t.Run(system+" "+kind, func(t *testing.T) { linesOfAnOutage(t, system, kind) })
		}
	}
}

func linesOfAnOutage(t *testing.T, system, kind string) {
	var log lines
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	var b broker.Broker
	var err error
	var end, back func()
	switch system {
	case "memory":
		m := memorybroker.NewBus(nil).Broker()
		b, end, back = m, func() { memorytest.Cut(m, errors.New("cut")) }, func() { memorytest.Heal(m) }
	case "redis":
		s := servers.StartRedis(t, nil)
		end, back = s.Kill, s.Restart
		b, err = dial.Open("redis://"+s.Addr(), nil)
	case "nats":
		s := servers.StartNATS(t, nil)
		end, back = s.Kill, s.Restart
		b, err = dial.Open("nats://"+s.Addr(), nil)
	}
	require.NoError(t, err)
	defer func() { assert.NoError(t, b.Close(context.Background())) }()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var ready func(context.Context) error
	var publish func() error
	if kind == "backplane" {
		node, err := backplane.New(b, nil)
		require.NoError(t, err)
		defer func() { assert.NoError(t, node.Close(context.Background())) }()
		for _, name := range []string{"/a", "/b", "/c"} {
			ns, err := node.Namespace(ctx, name, nil)
			require.NoError(t, err)
			publish = func() error { return ns.Broadcast(ctx, []byte("x"), backplane.All()) }
		}
		ready = node.Ready
	} else {
		server, err := adapter.New(b, nil)
		require.NoError(t, err)
		defer func() { assert.NoError(t, server.Close(context.Background())) }()
		for _, name := range []string{"/a", "/b", "/c"} {
			ns, err := server.Of(ctx, name)
			require.NoError(t, err)
			publish = func() error { return ns.Emit(ctx, "x") }
		}
		ready = server.Ready
	}
	require.NoError(t, ready(ctx))
	n := len(log.from(0))
	end()
	require.Eventually(t, func() bool { return strings.Contains(strings.Join(log.from(n), ""), "outage begins") }, 10*time.Second, time.Millisecond)
	for range 100 {
		require.NoError(t, publish())
	}
	back()
	require.NoError(t, ready(ctx))
	require.Eventually(t, func() bool { return strings.Contains(strings.Join(log.from(n), ""), "outage ended") }, 30*time.Second, 10*time.Millisecond)
	got := log.from(n)
	if assert.Len(t, got, 2, strings.Join(got, "")) {
		assert.Contains(t, got[0], "level=WARN msg=\""+kind+": outage begins\"")
		assert.Contains(t, got[1], "level=INFO msg=\""+kind+": outage ended\" duration=")
		assert.Contains(t, got[1], "interruptions=4 ")
	}
}
