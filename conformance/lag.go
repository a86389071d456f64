package conformance

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// busy is a delay of goroutines from which on nodes repeat greetings and give up introductions, whatever the broker does:
// a quarter of the 250 ms that package backplane waits for introductions, less what messages take.
const busy = 40 * time.Millisecond

// lag measures how late goroutines of this process run, on a machine that others use too.
type lag struct {
	worst atomic.Int64
	stop  context.CancelFunc
	done  sync.WaitGroup
}

func watchLag(ctx context.Context) *lag {
	const each = 5 * time.Millisecond
	l := new(lag)
	ctx, l.stop = context.WithCancel(ctx)
	l.done.Go(func() {
		for {
			began := time.Now()
			select {
			case <-ctx.Done():
				return
			case <-time.After(each):
			}
			l.worst.Store(max(l.worst.Load(), int64(time.Since(began)-each)))
		}
	})
	return l
}

// end stops the measurement.
func (l *lag) end() {
	l.stop()
	l.done.Wait()
}

// busy reports whether goroutines have been late.
func (l *lag) busy() bool { return time.Duration(l.worst.Load()) >= busy }
