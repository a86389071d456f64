package backplane_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

// One message from another node to 100,000 members of this node.
func BenchmarkFanOut(b *testing.B) {
	const n = 100_000
	ns := crowd(b, n)
	for name, p := range map[string][]byte{
		"room":        pack([]any{1, "x", 1, 0, []any{"red"}, nil, nil, "", []byte("hi")}),
		"room except": pack([]any{1, "x", 1, 0, []any{"red"}, []any{"m1", "m2"}, nil, "", []byte("hi")}),
		"everybody":   pack([]any{1, "x", 1, 0, nil, nil, nil, "", []byte("hi")}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ns.HandleForTest(broadcastChannel, p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/member")
		})
	}
}

// The baseline of FanOut: a loop of interface calls over the same members, with a new list of them
// for each message.
func BenchmarkBareLoop(b *testing.B) {
	const n = 100_000
	ns := crowd(b, n)
	m := new(backplane.Message)
	for b.Loop() {
		for _, e := range backplane.EntriesOf(ns, redRoom) {
			e.Member.Deliver(m)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/member")
}

// One message from this node to its 100,000 members.
func BenchmarkBroadcastLocal(b *testing.B) {
	const n = 100_000
	ns := crowd(b, n)
	p := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if err := ns.Broadcast(b.Context(), p, backplane.To(redRoom...).Local()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/member")
}

// A million memberships: 100,000 members in ten rooms each, besides their own.
func BenchmarkMemberships(b *testing.B) {
	const members, each = 100_000, 10
	ids, rooms := make([]string, members), make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprint("member-", i)
	}
	for i := range rooms {
		rooms[i] = fmt.Sprint("room-", i)
	}
	var bytes, base float64
	for b.Loop() {
		b.StopTimer()
		ns := one(b, nil, nil)
		start := heap()
		b.StartTimer()
		for _, id := range ids {
			if err := ns.Add(b.Context(), newNull(id)); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		empty := heap()
		b.StartTimer()
		list := make([]string, each)
		for i, id := range ids {
			for k := range list {
				list[k] = rooms[(i*7+k*1009)%len(rooms)]
			}
			if err := ns.Join(b.Context(), id, list...); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		bytes, base = float64(heap()-empty), float64(empty-start)
		runtime.KeepAlive(ns)
		b.StartTimer()
	}
	b.ReportMetric(bytes/(members*each), "B/membership")
	b.ReportMetric(base/members, "B/member")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(members*each), "ns/join")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A broadcast up to the broker, without local members.
func BenchmarkBroadcastOut(b *testing.B) {
	ns := alone(b)
	p := make([]byte, 128)
	target := backplane.To(redRoom...)
	b.ReportAllocs()
	for b.Loop() {
		if err := ns.Broadcast(b.Context(), p, target); err != nil {
			b.Fatal(err)
		}
	}
}

// A message that no local member wants.
func BenchmarkUnwanted(b *testing.B) {
	ns := crowd(b, 1000)
	p := pack([]any{1, "x", 1, 0, []any{"nowhere"}, nil, nil, "", make([]byte, 128)})
	for name, ch := range map[string]broker.Channel{"by channel": broker.Native.Room(chat, "nowhere"), "by rooms": broadcastChannel} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ns.HandleForTest(ch, p)
			}
		})
	}
}
