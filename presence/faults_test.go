package presence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
)

// After each fault, all nodes that are left agree. The table is printed with -v. TestWithinTheStatedTime holds them to the
// times of the package documentation.
func TestFaults(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, open func() place) {
		row := func(what string, took time.Duration) {
			t.Helper()
			t.Logf("%-52s | %7v", what, took.Round(time.Millisecond))
		}
		const each = 100
		core := &backplane.Options{Heartbeat: 400 * time.Millisecond, OnError: func(error) {}} // a crash is known after 1.6 s
		start := func() *node { return startWith(t, open(), core, nil) }
		a, b, c := start(), start(), start()
		for _, n := range []*node{a, b, c} {
			n.join(t, "lobby", each)
		}
		agree(t, 3*each, a, b, c)

		began := time.Now()
		late := start()
		agree(t, 3*each, a, b, c, late)
		row("a node starts late, from its New", time.Since(began))

		began = time.Now()
		a.join(t, "storm", 10000)
		agree(t, 3*each+10000, a, b, c, late)
		row("10,000 joins at once, from the first", time.Since(began))

		b.cut()
		a.join(t, "while b is cut", 5)
		b.join(t, "on b", 5)
		time.Sleep(3 * time.Second) // the outage
		b.heal()
		row("a link is cut for 3 s, from its return", agree(t, 3*each+10010, a, b, c, late))

		b.freeze()
		began = time.Now()
		a.join(t, "while b is frozen", 5)
		agree(t, 2*each+10010, a, c, late)
		row("a link is frozen: the others agree without its node", time.Since(began))
		b.heal()
		row("it goes on, from that moment", agree(t, 3*each+10015, a, b, c, late))

		c.kill()
		c.killed = true
		row("a node is killed", agree(t, 2*each+10015, a, b, late))

		go b.stop(patience)
		go late.stop(patience)
		row("two nodes leave at once", agree(t, each+10010, a))
	})
}

// A full limit for all peers leaves room for own members. What was refused is stored when there is room again.
func TestFullOfOthers(t *testing.T) {
	t.Parallel()
	places := systems["memory"](t)
	big, small := start(t, places()), startWith(t, places(), nil, options(100_000))
	other := start(t, places())
	big.join(t, "lobby", 2000)
	require.Eventually(t, func() bool { return small.Stats().Refused > 0 }, patience, time.Millisecond)
	small.join(t, "mine", 10)
	other.join(t, "other", 10)
	agree(t, 2020, big, other)
	require.Equal(t, []string{big.core.ID()}, remove(small.Room("").Missing, other.core.ID()))
	_, own := small.Count("mine")
	require.Equal(t, 10, own)
	big.leaveAll("lobby")
	agree(t, 20, big, small, other)
}
