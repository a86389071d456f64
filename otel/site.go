package otelbackplane

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/observe"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// action is the kind of a span.
type action uint8

const (
	publish action = iota
	deliver
	query   // request with responses
	answer  // serves another node's query
	send    // request without a response
	process // serves such a request
)

// site is one kind of operation of one node in one namespace. It holds what all spans and measurements of that
// operation have in common: computing it for each message would cost more than everything else.
type site struct {
	name    string
	attrs   []attribute.KeyValue    // of every recorded span
	start   []trace.SpanStartOption // kind, and the attributes that samplers read
	bare    []trace.SpanStartOption // kind
	set     attribute.Set           // of measurements without an error
	measure []metric.RecordOption   // set
	count   []metric.AddOption      // set

	// The published messages. Adding them up here, and reporting the sum at collection, costs a tenth of an
	// instrument's call for each message.
	sent   tally
	mu     sync.Mutex
	failed map[attribute.KeyValue]*tally // by error type
}

// tally counts messages.
type tally struct{ messages, bytes atomic.Int64 }

func (t *tally) add(bytes int) {
	t.messages.Add(1)
	t.bytes.Add(int64(bytes))
}

// add counts a broadcast, under the type of err if publishing failed.
func (s *site) add(bytes int, err error) {
	if err == nil {
		s.sent.add(bytes)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := semconv.ErrorType(err)
	t := s.failed[kind]
	if t == nil {
		if s.failed == nil {
			s.failed = map[attribute.KeyValue]*tally{}
		}
		if len(s.failed) >= maxErrorTypes {
			kind = semconv.ErrorTypeOther
		}
		if t = s.failed[kind]; t == nil {
			t = new(tally)
			s.failed[kind] = t
		}
	}
	t.add(bytes)
}

// maxErrorTypes limits the error types that a broker can add. Further types count as other.
const maxErrorTypes = 16

// sums calls f with each sum and its attributes.
func (s *site) sums(f func(t *tally, attrs attribute.Set)) {
	if s.sent.messages.Load() > 0 {
		f(&s.sent, s.set)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, t := range s.failed {
		f(t, attribute.NewSet(append(s.set.ToSlice(), kind)...))
	}
}

type siteKey struct {
	source *observe.Source
	ns     string
	action action
	op     string // of query, answer, send and process
	room   bool   // of publish and deliver: on the channel of one room
}

// maxSites limits the memory for sites and the number of time series, because names of namespaces may come and go.
// Further namespaces count as otherNamespace.
const (
	maxSites       = 4096
	otherNamespace = "_OTHER"
)

// site returns the site of k, and makes it if necessary.
func (o *Observer) site(k siteKey) *site {
	if all := o.sites.Load(); all != nil {
		if s := (*all)[k]; s != nil {
			return s
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	next := map[siteKey]*site{}
	if all := o.sites.Load(); all != nil {
		if len(*all) >= maxSites {
			k.ns = otherNamespace
		}
		if s := (*all)[k]; s != nil {
			return s
		}
		next = maps.Clone(*all)
	}
	k.ns = strings.Clone(k.ns) // it may share memory with a large message
	s := newSite(k)
	next[k] = s
	o.sites.Store(&next)
	return s
}

// forget removes the sites of a node that closed long ago. The caller holds o.mu.
func (o *Observer) forget(source *observe.Source) {
	if all := o.sites.Load(); all != nil {
		next := maps.Clone(*all)
		maps.DeleteFunc(next, func(k siteKey, _ *site) bool { return k.source == source })
		o.sites.Store(&next)
	}
}

func newSite(k siteKey) *site {
	var kind trace.SpanKind
	var typ attribute.KeyValue
	var name string
	switch k.action {
	case publish:
		name, kind, typ = "publish", trace.SpanKindProducer, semconv.MessagingOperationTypeSend
	case deliver:
		name, kind, typ = "deliver", trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess
	case query:
		name, kind, typ = "query "+k.op, trace.SpanKindClient, semconv.MessagingOperationTypeSend
	case answer:
		name, kind, typ = "answer "+k.op, trace.SpanKindServer, semconv.MessagingOperationTypeProcess
	case send:
		name, kind, typ = "send "+k.op, trace.SpanKindProducer, semconv.MessagingOperationTypeSend
	case process:
		name, kind, typ = "process "+k.op, trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess
	}
	template := k.ns
	if k.room {
		template += "#{room}"
	}
	common := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(k.source.System),
		semconv.MessagingOperationName(name),
		semconv.MessagingDestinationTemplate(template),
		semconv.MessagingClientID(k.source.Node),
	}
	if k.source.Prefix != "" {
		common = append(common, keyPrefix.String(k.source.Prefix))
	}
	if k.op != "" {
		common = append(common, keyOperation.String(k.op))
	}
	// Each attribute of a measurement costs time for each message.
	s := &site{name: name + " " + template, set: attribute.NewSet(common...)}
	s.attrs = append(common, typ, keyNamespace.String(k.ns))
	// The attributes that samplers must see by the conventions. The others are set on recorded spans only.
	seen := []attribute.KeyValue{common[0], common[1], common[2], typ}
	s.bare = []trace.SpanStartOption{trace.WithSpanKind(kind)}
	s.start = []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(seen...)}
	s.measure = []metric.RecordOption{metric.WithAttributeSet(s.set)}
	s.count = []metric.AddOption{metric.WithAttributeSet(s.set)}
	return s
}

// options returns the options for a span with the parent sc. Nearly every sampler rejects the child of an unsampled
// parent. For such a parent the attributes are omitted, which saves an allocation; they are set later if the span is
// recorded after all.
func (s *site) options(sc trace.SpanContext) []trace.SpanStartOption {
	if sc.IsValid() && !sc.IsSampled() {
		return s.bare
	}
	return s.start
}

// measured returns the options of a measurement of an operation that returned err.
func (s *site) measured(err error, more ...attribute.KeyValue) []metric.RecordOption {
	if err == nil && len(more) == 0 {
		return s.measure
	}
	return []metric.RecordOption{metric.WithAttributeSet(s.with(err, more...))}
}

func (s *site) with(err error, more ...attribute.KeyValue) attribute.Set {
	list := append(s.set.ToSlice(), more...)
	if err != nil {
		list = append(list, semconv.ErrorType(err))
	}
	return attribute.NewSet(list...)
}
