package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

// worker is a Node.js process with some of the clients.
type worker struct {
	*child.Process
	out chan line
}

type line struct {
	text []byte
	err  error
}

func (p *processes) startWorker(o options, urls []string, i int) (*worker, error) {
	config, err := json.Marshal(map[string]any{
		"urls": urls, "from": o.conns * i / o.workers, "to": o.conns * (i + 1) / o.workers,
		"rooms": o.rooms, "rate": o.rate / o.workers,
	})
	if err != nil {
		return nil, err
	}
	w := &worker{out: make(chan line, 4)}
	w.Process, err = p.start(func(output io.Reader) {
		lines := bufio.NewReader(output)
		for {
			text, err := lines.ReadBytes('\n')
			select {
			case w.out <- line{text, err}:
			case <-p.ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}, "node", filepath.Join(o.dir, "load", "worker.js"), string(config))
	return w, err
}

func (w *worker) write(order any) {
	if err := json.NewEncoder(w.Input).Encode(order); err != nil {
		w.out <- line{err: err} // read returns the error
	}
}

// read reads the worker's next response.
func (w *worker) read(ctx context.Context, into any, timeout time.Duration) error {
	select {
	case l := <-w.out:
		if l.err != nil {
			return fmt.Errorf("a worker: %w, and it ended: %v", l.err, w.Finish())
		}
		return json.Unmarshal(l.text, into)
	case <-time.After(timeout):
		return errors.New("a worker does not answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}
