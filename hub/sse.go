package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/crossroom/crossroom/outgoing"
)

// stream is the response of an event stream.
type stream struct {
	w        http.ResponseWriter
	out      *http.ResponseController
	timeout  time.Duration
	gate     chan struct{}       // closed when messages may be written
	replayed map[string]struct{} // ids of messages that Resume returned
	before   uint64              // messages that may repeat them
}

// SSE returns a handler of event streams (text/event-stream) for EventSource and other clients, over HTTP/1.1 and
// HTTP/2. ServeHTTP returns when the stream has ended. Deadlines of the http.Server do not apply to a stream.
func (h *Hub) SSE() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			e := &StatusError{http.StatusMethodNotAllowed, "method not allowed"}
			h.count(func(s *Stats) { s.Refused[e.Status]++ })
			e.write(w)
			return
		}
		who, ok := h.admit(w, r)
		if !ok {
			return
		}
		c := h.newConn(who)
		c.stream = &stream{w: w, out: http.NewResponseController(w), timeout: h.opts.Queue.WriteTimeout, gate: make(chan struct{})}
		c.queue = outgoing.New(c.writeStream, c.queueBroken, &h.opts.Queue)
		if !h.enter(c) {
			e := &StatusError{http.StatusServiceUnavailable, "server restarts"}
			h.count(func(s *Stats) { s.Refused[e.Status]++ })
			e.write(w)
			return
		}
		c.serveStream(r, who.Rooms)
	})
}

// serveStream returns when nothing of the stream is left.
func (c *Conn) serveStream(r *http.Request, rooms []string) {
	h, connected := c.hub, false
	c.stream.out.SetReadDeadline(time.Time{}) // those of the server are for short responses
	c.stream.out.SetWriteDeadline(time.Time{})
	defer func() { c.finish(connected) }()
	left := context.AfterFunc(r.Context(), func() {
		c.end(&CloseError{Code: codeGoingAway, Remote: true, Err: context.Cause(r.Context())}, false)
	})
	defer left()
	refuse := func(e *StatusError, cause error) {
		h.count(func(s *Stats) { s.Refused[e.Status]++ })
		e.write(c.stream.w)
		c.endIn(reasonOnly, &CloseError{Code: codeInternal, Reason: e.Reason, Err: cause})
		<-c.done
	}
	if err := c.attach(rooms); err != nil {
		h.reports.report("attach", err)
		refuse(&StatusError{http.StatusServiceUnavailable, "the fleet cannot be reached"}, err)
		return
	}
	first, err := c.resume(r)
	if err != nil {
		refuse(h.refusal(err), err)
		return
	}
	if err := c.stream.open(r, h.retry(), first); err != nil {
		c.end(&CloseError{Code: codeAbnormal, Err: err}, false)
	} else {
		c.stream.before = uint64(c.queue.Stats().Messages)
		close(c.stream.gate)
		connected = true
		if h.opts.OnConnect != nil {
			c.after("OnConnect", h.guard("OnConnect", c.id, func() error { return h.opts.OnConnect(c.ctx, c) }))
		}
		c.mu.Lock()
		if c.reason == nil {
			c.beat = time.AfterFunc(time.Duration((0.5+rand.Float64()/2)*float64(h.opts.PingInterval)), c.onStreamBeat)
		}
		c.mu.Unlock()
	}
	<-c.done
}

// resume returns the messages with which a stream begins.
func (c *Conn) resume(r *http.Request) (first []*frame, err error) {
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		return nil, nil
	}
	gap := true
	if f := c.hub.opts.Resume; f != nil {
		ctx, cancel := context.WithTimeout(c.ctx, c.stream.timeout)
		defer cancel()
		var missed []Message
		err := c.hub.guard("Resume", c.id, func() (err error) {
			missed, err = f(ctx, c, last)
			return err
		})
		gap = errors.Is(err, ErrGap)
		if err != nil && !gap {
			return nil, err
		}
		c.stream.replayed = make(map[string]struct{}, len(missed))
		for _, m := range missed {
			if err := m.check(); err != nil {
				return nil, err
			}
			first = append(first, &frame{message: m})
			if m.ID != "" {
				c.stream.replayed[m.ID] = struct{}{}
			}
		}
	}
	if gap {
		first = append([]*frame{gapFrame(last)}, first...)
	}
	return first, nil
}

// gapFrame is the honest answer to a client whose missed messages are not known. The empty id makes the client
// forget its last one.
func gapFrame(last string) *frame {
	after, _ := json.Marshal(map[string]string{"after": strings.ToValidUTF8(last, "\uFFFD")})
	f := &frame{message: Message{Event: "gap", Data: after}}
	f.streamOnce.Do(func() { f.stream = append([]byte("id\n"), appendEvent(nil, &f.message)...) })
	return f
}

// closeEvent is the data of the event that ends a stream.
func closeEvent(reason *CloseError) []byte {
	b, _ := json.Marshal(map[string]any{"code": reason.Code, "reason": reason.Reason})
	return b
}

// open sends the header and the first messages.
func (s *stream) open(r *http.Request, retry time.Duration, first []*frame) error {
	head := s.w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-cache, no-transform")
	head.Set("X-Accel-Buffering", "no")                 // nginx and others pass on what comes at once
	if origin := r.Header.Get("Origin"); origin != "" { // it was admitted
		head.Set("Access-Control-Allow-Origin", origin)
		head.Set("Access-Control-Allow-Credentials", "true")
		head.Add("Vary", "Origin")
	}
	s.w.WriteHeader(http.StatusOK)
	b := append(strconv.AppendInt([]byte("retry: "), retry.Milliseconds(), 10), "\n\n"...)
	for _, f := range first {
		b = append(b, f.streamEvent()...)
	}
	return s.write(b)
}

// write sends bytes within the time limit.
func (s *stream) write(parts ...[]byte) error {
	s.out.SetWriteDeadline(time.Now().Add(s.timeout))
	for _, b := range parts {
		if _, err := s.w.Write(b); err != nil {
			return err
		}
	}
	err := s.out.Flush()
	s.out.SetWriteDeadline(time.Time{})
	return err
}

// expire limits the time of the last writes.
func (s *stream) expire(in time.Duration) { s.out.SetWriteDeadline(time.Now().Add(in)) }

// breakOff makes a write in progress fail.
func (s *stream) breakOff() { s.out.SetWriteDeadline(time.Unix(1, 0)) }

// writeStream is called by the queue. One flush sends the whole batch.
func (c *Conn) writeStream(batch []*frame) error {
	select {
	case <-c.stream.gate:
	case <-c.cut:
		return c.ctx.Err()
	}
	s := c.stream
	list := make([][]byte, 0, len(batch))
	for _, f := range batch {
		if s.replayed != nil {
			if s.before == 0 {
				s.replayed = nil
			} else {
				s.before--
			}
			if _, again := s.replayed[f.message.ID]; again {
				continue
			}
		}
		list = append(list, f.streamEvent())
	}
	return s.write(list...)
}

// onStreamBeat sends a comment, so that proxies keep the connection and a broken one is noticed.
func (c *Conn) onStreamBeat() {
	if c.queue.Stats().Messages == 0 && c.queue.Push(&frame{comment: true}, 0, false) {
		c.comments.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		c.beat.Reset(c.hub.opts.PingInterval)
	}
}

// streamEvent returns the text of the frame in an event stream, which is made once.
func (f *frame) streamEvent() []byte {
	f.streamOnce.Do(func() {
		if f.comment {
			f.stream = []byte(":\n\n")
			return
		}
		f.stream = appendEvent(make([]byte, 0, len(f.message.Data)+len(f.message.Event)+len(f.message.ID)+32), &f.message)
	})
	return f.stream
}

// appendEvent appends a message in the format of https://html.spec.whatwg.org/multipage/server-sent-events.html
func appendEvent(b []byte, m *Message) []byte {
	event, data := m.Event, m.Data
	if m.Binary {
		event = cmp.Or(event, "binary")
		data = base64.StdEncoding.AppendEncode(nil, data)
	}
	if m.ID != "" {
		b = append(append(append(b, "id: "...), m.ID...), '\n')
	}
	if event != "" {
		b = append(append(append(b, "event: "...), event...), '\n')
	}
	for {
		i := bytes.IndexAny(data, "\r\n")
		if i < 0 {
			break
		}
		b = append(append(append(b, "data: "...), data[:i]...), '\n')
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
	return append(append(append(b, "data: "...), data...), "\n\n"...)
}
