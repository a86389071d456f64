package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"time"
)

// worker is a Node.js process with some of the clients.
type worker struct {
	in  io.Writer
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
	_, in, out, err := p.start("node", filepath.Join(o.dir, "load", "worker.js"), string(config))
	if err != nil {
		return nil, err
	}
	w := &worker{in: in, out: make(chan line, 4)}
	p.running.Go(func() {
		lines := bufio.NewReader(out)
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
	})
	return w, nil
}

func (w *worker) write(order any) {
	if err := json.NewEncoder(w.in).Encode(order); err != nil {
		w.out <- line{err: err} // read says so
	}
}

// read reads the worker's next answer.
func (w *worker) read(ctx context.Context, into any, timeout time.Duration) error {
	select {
	case l := <-w.out:
		if l.err != nil {
			return l.err
		}
		return json.Unmarshal(l.text, into)
	case <-time.After(timeout):
		return errors.New("a worker does not answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}
