//go:build unix

package zishang520

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

// BenchmarkBroadcast compares a broadcast of one server to its own clients with that of the
// in-memory adapter alone. Rounds alternate, and the ratio is the median over pairs of
// rounds, by processor time.
func BenchmarkBroadcast(b *testing.B) {
	for _, clients := range []int{10, 100} {
		b.Run(fmt.Sprint(clients, " clients"), func(b *testing.B) { compare(b, clients) })
	}
}

func compare(b *testing.B, clients int) {
	const rounds = 20
	with := start(b, memorybroker.New(nil), nil)
	alone := &node{io: socket.NewServer(nil, nil)}
	serve(b, alone)
	nodes := []*node{with, alone}
	all := make([][]*client, len(nodes))
	for i, n := range nodes {
		for range clients {
			all[i] = append(all[i], n.connect(b, "/", nil, "room"))
		}
	}
	each := max(b.N/rounds, 1)
	round := func(i int) time.Duration {
		before := processorTime()
		for range each {
			nodes[i].io.To("room").Emit("news", "some text", 42)
			for _, c := range all[i] {
				<-c.events
			}
		}
		return processorTime() - before
	}
	round(0)
	round(1)
	var ratios []float64
	var sum [2]time.Duration
	b.ResetTimer()
	for r := range rounds {
		first, second := r%2, 1-r%2
		var took [2]time.Duration
		took[first] = round(first)
		took[second] = round(second)
		ratios = append(ratios, float64(took[0])/float64(took[1]))
		sum[0] += took[0]
		sum[1] += took[1]
	}
	b.StopTimer()
	slices.Sort(ratios)
	n := float64(each * rounds)
	b.ReportMetric(float64(sum[0].Nanoseconds())/n, "ns/with")
	b.ReportMetric(float64(sum[1].Nanoseconds())/n, "ns/alone")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(0, "ns/op")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(b, with.fleet.Ready(ctx))
}

// processorTime returns the processor time that this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
