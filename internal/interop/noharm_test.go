package interop_test

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// A short run plays the worst contents and a sample of the others. The full run of make noharm
// plays all.
const shortEvery = 211

// TestNoHarm plays every operation with generated contents beside servers of every version, alone
// and mixed. No server may crash, report an error or time out. Clients get what was sent, once,
// unless the call was refused.
func TestNoHarm(t *testing.T) {
	interop.Require(t)
	run := newHarmRun(t)
	alone := versions
	if !run.full {
		alone = []interop.Generation{v5, v70, v8} // the others are in the mixed fleet
	}
	t.Run("fleets", func(t *testing.T) {
		for _, g := range alone {
			t.Run(string(g), func(t *testing.T) { t.Parallel(); run.fleet(t, string(g), g) })
		}
		t.Run("mixed", func(t *testing.T) { t.Parallel(); run.fleet(t, "mixed", versions...) })
		t.Run("bridge", func(t *testing.T) { t.Parallel(); run.bridge(t) })
	})
	run.check(t, classicTable(t))
}

func newHarmRun(t *testing.T) *harmRun {
	return &harmRun{redis: servers.StartRedis(t, nil).URL(), names: readNames(t), full: os.Getenv("CROSSROOM_NOHARM") == "full", began: time.Now()}
}

// harmRun is a run and its results.
type harmRun struct {
	redis string
	names *harmNames
	full  bool
	began time.Time
	mu    sync.Mutex
	cells map[[2]string]harmCell
	total harmCell
}

// harmCell is the result of one operation beside one version.
type harmCell struct{ tries, refused, harmed int }

// fleet plays all operations that can be played beside the versions.
func (r *harmRun) fleet(top *testing.T, column string, versions ...interop.Generation) {
	var f *harmFleet
	start := func() *harmFleet {
		if f == nil || f.healthy() != nil {
			f = startHarmFleet(top, r.redis, versions, "")
			f.names = r.names
		}
		return f
	}
	for _, op := range harmOps {
		if len(versions) > 1 && !op.mixed || len(versions) == 1 && !op.beside(versions[0]) {
			continue
		}
		top.Run(op.name, func(t *testing.T) {
			r.op(t, column, harmPlay{t: t, op: op, start: start, drop: func() { f = nil }})
		})
	}
}

// bridge plays the messages that Go nodes pass on to servers of the oldest version, of the newest,
// and of all.
func (r *harmRun) bridge(top *testing.T) {
	fleets := map[string][]interop.Generation{"v5": {v5}, "v8": {v8}, "mixed": versions}
	if !r.full {
		fleets = map[string][]interop.Generation{"mixed": versions}
	}
	for column, versions := range fleets {
		top.Run(column, func(t *testing.T) {
			var f *harmFleet
			start := func() *harmFleet {
				if f == nil || f.healthy() != nil {
					f = startBridged(top, r.redis, versions...)
				}
				return f
			}
			r.op(t, column, harmPlay{t: t, op: bridged, start: start, drop: func() { f = nil }})
		})
	}
}

// op plays one operation beside one fleet.
func (r *harmRun) op(t *testing.T, column string, p harmPlay) {
	began := time.Now()
	defer func() { // also when the operation is given up
		t.Logf("%+v in %v", p.cell, time.Since(began).Round(time.Millisecond))
		r.add(p.op.name, column, p.cell)
	}()
	for list := range slices.Chunk(r.pick(p.op), p.op.batch) {
		p.play(list)
	}
}

// pick returns the contents of an operation.
func (r *harmRun) pick(op harmOp) []content {
	list := op.contents(r.names)
	every := max(op.every, 1)
	if !r.full {
		every *= shortEvery
	}
	worst := min(op.perName*r.names.worst(), len(list))
	return slices.Concat(list[:worst], sample(list[worst:], every))
}

func (r *harmRun) add(operation, column string, c harmCell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cells == nil {
		r.cells = map[[2]string]harmCell{}
	}
	r.cells[[2]string{operation, column}] = c
	r.total.tries += c.tries
	r.total.refused += c.refused
	r.total.harmed += c.harmed
}

// harmPlay plays one operation beside one fleet.
type harmPlay struct {
	t     *testing.T
	op    harmOp
	start func() *harmFleet
	drop  func() // ends the fleet, which is unusable
	cell  harmCell
}

// After so many harmful contents an operation is given up.
const maxCulprits = 10

// play plays contents. If a server is harmed, it repeats them with a new fleet, half of them at a
// time, to find the harmful ones.
func (p *harmPlay) play(list []content) {
	f := p.start()
	f.sub = p.t
	refused, err := p.op.play(f, list)
	if err == nil {
		err = f.healthy()
	}
	if err == nil {
		p.cell.tries += len(list)
		p.cell.refused += refused
		return
	}
	p.drop()
	if len(list) == 1 {
		p.cell.tries++
		p.cell.harmed++
		p.t.Errorf("%s of %v: %v", p.op.name, list[0], err)
		if p.cell.harmed == maxCulprits {
			p.t.FailNow()
		}
		return
	}
	p.t.Logf("looking among %d for what harms: %.300v", len(list), err)
	p.play(list[:len(list)/2])
	p.play(list[len(list)/2:])
}
