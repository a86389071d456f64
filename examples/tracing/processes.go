package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/crossroom/crossroom/internal/child"
)

// startNode starts the Node.js server of this example and waits until it is ready. stop makes it export its last spans
// and waits for its end.
func startNode(ctx context.Context, dir, redis, collector string, clients int) (stop func() error, err error) {
	config, err := json.Marshal(map[string]any{"redis": redis, "collector": collector, "clients": clients})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", "server.js", string(config))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	first := make(chan string, 1)
	p, err := child.Start(cmd, func(output io.Reader) {
		lines := bufio.NewReader(output)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, lines)
	})
	if err != nil {
		return nil, err
	}
	stop = func() error {
		_ = p.Input.Close()
		return p.Finish()
	}
	if line := <-first; line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("the Node.js server is not ready, but wrote %q", line), stop())
	}
	return stop, nil
}
