package zishang520

import "sync"

// order runs operations on other servers in the order of the calls. No caller waits for
// other servers: an operation that has to wait runs on a goroutine, and later operations run after it.
type order struct {
	start func(func())

	mu    sync.Mutex
	tasks []func()
	busy  bool
	room  sync.Cond // tasks became shorter
}

// Callers wait while the queue has this many tasks.
const maxTasks = 4096

func newOrder(start func(func())) *order {
	o := &order{start: start}
	o.room.L = &o.mu
	return o
}

// do runs f. waits says that f may wait for other servers. It reports whether f has run.
func (o *order) do(f func(), waits bool) (ran bool) {
	o.mu.Lock()
	if !o.busy && !waits {
		o.mu.Unlock()
		f()
		return true
	}
	defer o.mu.Unlock()
	for len(o.tasks) >= maxTasks {
		o.room.Wait()
	}
	o.tasks = append(o.tasks, f)
	if !o.busy {
		o.busy = true
		o.start(o.run)
	}
	return false
}

func (o *order) run() {
	for {
		o.mu.Lock()
		if len(o.tasks) == 0 {
			o.busy = false
			o.mu.Unlock()
			return
		}
		f := o.tasks[0]
		o.tasks[0] = nil
		o.tasks = o.tasks[1:]
		o.room.Signal()
		o.mu.Unlock()
		f()
	}
}
