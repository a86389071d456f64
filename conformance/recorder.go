package conformance

import (
	"bytes"
	"errors"
	"hash/crc32"
	"runtime"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

// recorder is the receiver of the suite. In every case it checks by itself the clauses of every delivery (B2, B3, B4,
// B8, B9, B11, B14), and keeps the first violation.
type recorder struct {
	env *env

	mu      sync.Mutex
	changed chan struct{} // closed at the next event
	err     error         // first violation
	inside  int           // number of running calls
	hold    chan struct{} // Deliver blocks until it is closed; nil: it does not block
	held    int           // number of calls blocked there

	may map[broker.Filter]struct{} // filters allowed to deliver: being added, or live
	was map[broker.Filter]struct{} // removed filters

	streams map[uint32]*track
	raw     []raw  // payloads that belong to no stream
	allow   bool   // raw payloads are expected
	foreign Clause // clause to name when raw payloads are not expected
	late    Clause // clause to name for deliveries after Remove, Close or an error
	kept    []kept // for B8

	interrupted  bool
	gap          *broker.GapError // of the present interruption, if it does not affect all channels
	interruption []error          // the arguments of Interrupted
	resumed      int
	missed       int // sum of Messages in LossErrors
}

// track is the recorder's state of one stream.
type track struct {
	from uint64 // every message from this sequence number on must arrive; 0: none must
	last uint64
	n    int
	seen map[uint64]struct{}
}

type raw struct {
	ch      broker.Channel
	payload []byte
}

type kept struct {
	payload []byte
	sum     uint32
}

func newRecorder(e *env) *recorder {
	return &recorder{
		env: e, changed: make(chan struct{}), foreign: 4, late: 11,
		may: map[broker.Filter]struct{}{}, was: map[broker.Filter]struct{}{},
		streams: map[uint32]*track{},
	}
}

// event wakes the waiting goroutines. The caller holds mu.
func (r *recorder) event() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// blame keeps the first violation. The caller holds mu.
func (r *recorder) blame(clause Clause, format string, args ...any) {
	if r.err == nil {
		r.err = fail(clause, format, args...)
	}
}

func (r *recorder) enter(what string) {
	if r.inside++; r.inside > 1 {
		r.blame(9, "%s was called while another call of the same receiver was running", what)
	}
}

func (r *recorder) Deliver(ch broker.Channel, payload []byte) {
	r.mu.Lock()
	r.enter("Deliver")
	hold := r.hold
	if r.interrupted && (r.gap == nil || slices.ContainsFunc(r.gap.Filters, func(f broker.Filter) bool { return f.Matches(ch) })) {
		r.blame(14, "a message on %v was delivered after Interrupted and before Resumed", ch)
	}
	r.checkWanted(ch, "was delivered")
	r.take(ch, payload)
	if hold != nil {
		r.held++
	}
	r.event()
	r.mu.Unlock()

	if hold != nil {
		<-hold
	} else {
		runtime.Gosched() // gives a second call the chance to overlap
	}

	r.mu.Lock()
	if hold != nil {
		r.held--
	}
	r.checkWanted(ch, "was still being delivered")
	r.inside--
	r.mu.Unlock()
}

func (r *recorder) Interrupted(err error) {
	r.mu.Lock()
	r.enter("Interrupted")
	if r.interrupted {
		r.blame(14, "Interrupted was called twice without Resumed in between")
	}
	if err == nil {
		r.blame(14, "Interrupted was called with a nil error")
	}
	r.interrupted, r.gap = true, nil
	errors.As(err, &r.gap)
	r.interruption = append(r.interruption, err)
	if loss, ok := asLoss(err); ok {
		r.missed += loss.Messages
	}
	r.event()
	r.mu.Unlock()
	runtime.Gosched()
	r.mu.Lock()
	r.inside--
	r.mu.Unlock()
}

func (r *recorder) Resumed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter("Resumed")
	defer func() { r.inside-- }()
	if !r.interrupted {
		r.blame(14, "Resumed was called without Interrupted before it")
	}
	r.interrupted = false
	r.resumed++
	// Only messages published from now on must arrive.
	for id, t := range r.streams {
		if t.from > 0 {
			t.from = r.env.stream(id).started.Load() + 1
		}
	}
	r.event()
}

// checkWanted checks that a filter selects ch. The caller holds mu.
func (r *recorder) checkWanted(ch broker.Channel, did string) {
	if selects(r.may, ch) {
		return
	}
	if selects(r.was, ch) {
		r.blame(r.late, "a message on %v %s after Remove or Close had returned nil, or Add or Subscribe an error", ch, did)
		return
	}
	r.blame(4, "a message on %v %s, which no filter matches", ch, did)
}

func selects(filters map[broker.Filter]struct{}, ch broker.Channel) bool {
	if _, ok := filters[broker.Exactly(ch)]; ok {
		return true
	}
	for _, f := range [...]broker.Filter{ch.Protocol().EveryRoom(ch.Namespace()), ch.Protocol().Uncounted(ch.Namespace())} {
		if _, ok := filters[f]; ok && f.Matches(ch) {
			return true
		}
	}
	return false
}

// take files a payload under its stream. The caller holds mu.
func (r *recorder) take(ch broker.Channel, payload []byte) {
	if len(r.kept) < 20000 {
		r.kept = append(r.kept, kept{payload, crc32.ChecksumIEEE(payload)})
	}
	id, seq, err := decode(payload)
	if err != nil {
		if !r.allow {
			r.blame(r.foreign, "%d bytes arrived on %v that no stream had published: %v", len(payload), ch, err)
		}
		r.raw = append(r.raw, raw{ch, bytes.Clone(payload)})
		return
	}
	if id == probe {
		return
	}
	st := r.env.stream(id)
	switch {
	case st == nil || seq > st.started.Load():
		r.blame(4, "message %d of stream %d arrived on %v and was never published", seq, id, ch)
		return
	case ch != st.ch:
		r.blame(4, "message %d, published on %v, arrived on %v", seq, st.ch, ch)
		return
	}
	t := r.track(id)
	if _, again := t.seen[seq]; again {
		r.blame(3, "message %d on %v was delivered twice", seq, ch)
		return
	}
	t.seen[seq] = struct{}{}
	t.n++
	if seq < t.last {
		r.blame(2, "message %d on %v arrived after message %d of the same publisher", seq, ch, t.last)
		return
	}
	if t.from > 0 && !st.lossy.Load() {
		if next := max(t.last+1, t.from); seq > next {
			r.blame(1, "message %d on %v never arrived: message %d arrived without it, without Interrupted in between",
				next, ch, seq)
		}
	}
	t.last = seq
}

func (r *recorder) track(id uint32) *track {
	t := r.streams[id]
	if t == nil {
		t = &track{seen: map[uint64]struct{}{}}
		r.streams[id] = t
	}
	return t
}

// state reports whether cond holds and the first violation. It returns a channel that is closed at the next event. It
// calls cond with mu held.
func (r *recorder) state(cond func() bool) (ok bool, changed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return false, nil, r.err
	}
	return cond(), r.changed, nil
}

// verify returns the first violation. It checks the kept payloads too.
func (r *recorder) verify() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, k := range r.kept {
		if crc32.ChecksumIEEE(k.payload) != k.sum {
			r.blame(8, "the payload of delivery %d was written to after it had been delivered", i+1)
		}
	}
	return r.err
}

// holdUp makes future calls of Deliver block until letGo.
func (r *recorder) holdUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold == nil {
		r.hold = make(chan struct{})
	}
}

func (r *recorder) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold != nil {
		close(r.hold)
		r.hold = nil
	}
}

// blameLate sets the clause that a delivery after Remove, Close or an error violates.
func (r *recorder) blameLate(clause Clause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = clause
}

// blameForeign sets the clause that a payload of no stream violates.
func (r *recorder) blameForeign(clause Clause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.foreign = clause
}

// expectRaw allows payloads that belong to no stream.
func (r *recorder) expectRaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allow = true
}
