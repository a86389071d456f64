package guides_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/outgoing"
)

// stream is one response that stays open, as a member of a namespace.
type stream struct {
	id    string
	end   context.CancelCauseFunc
	queue *outgoing.Queue[[]byte]
}

func (s *stream) ID() string      { return s.id }
func (s *stream) Disconnect(bool) { s.end(nil) }

func (s *stream) Deliver(m *backplane.Message) {
	s.queue.Push(m.Payload, len(m.Payload), m.Volatile)
}

// events serves one stream until the client leaves, is disconnected or is too slow.
func events(ns *backplane.Namespace) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		w.Header().Set("Content-Type", "text/event-stream")
		ctx, end := context.WithCancelCause(r.Context())
		defer end(nil)
		s := &stream{id: rand.Text(), end: end}
		s.queue = outgoing.New(func(batch [][]byte) error {
			for _, payload := range batch {
				if _, err := fmt.Fprintf(w, "data: %s\n\n", payload); err != nil {
					return err
				}
			}
			return out.Flush() // one write for the whole batch
		}, end, &outgoing.Options{WhenFull: outgoing.DropOldest}) // prices: the next one is better
		if err := ns.Add(r.Context(), s); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		s.queue.Push([]byte("connected"), 9, false)
		<-ctx.Done()
		ns.Remove(s.id)
		out.SetWriteDeadline(time.Now().Add(5 * time.Second)) // for what is still queued
		s.queue.Close(context.Background())
		<-s.queue.Done() // the handler owns w until here
	}
}

func Example_serverSentEvents() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b := memorybroker.NewBus(nil).Broker()
	node, err := backplane.New(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	prices, err := node.Namespace(ctx, "prices", nil)
	if err != nil {
		log.Fatal(err)
	}
	web := httptest.NewServer(events(prices))
	defer web.Close()

	res, err := http.Get(web.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasSuffix(line, "connected"):
			err := prices.Broadcast(ctx, []byte("tea 3.20"), backplane.All())
			_, err2 := prices.DisconnectAll(ctx, backplane.All(), true)
			if err := errors.Join(err, err2); err != nil {
				log.Fatal(err)
			}
		case line != "":
			fmt.Println(line)
		}
	}
	if err := errors.Join(node.Close(ctx), b.Close(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output: data: tea 3.20
}
