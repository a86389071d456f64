package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

// nodePair is two Node.js processes with Socket.IO servers: one publishes, the other has the socket in the room; see
// node/*.js.
type nodePair struct {
	publisher, receiver *nodeProcess
	sent, got           int64 // messages up to the last round
}

// clientPackets says whether a Socket.IO server also encodes each packet for its clients, as it always does, even for
// a socket that discards the result.
type clientPackets string

const (
	withClientPackets    clientPackets = "with-client-packets"
	withoutClientPackets clientPackets = "without-client-packets"
)

// startNode starts both and waits until they are connected to Redis. It installs missing packages first.
func startNode(ctx context.Context, redisURL string, packets clientPackets) (*nodePair, error) {
	dir, err := nodeDir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = dir
		if out, err := npm.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("npm ci in %s: %w\n%s", dir, err, out)
		}
	}
	receiver, err := startNodeProcess(dir, "receiver.js", redisURL, packets)
	if err != nil {
		return nil, err
	}
	publisher, err := startNodeProcess(dir, "publisher.js", redisURL, packets)
	if err != nil {
		return nil, errors.Join(err, receiver.close())
	}
	return &nodePair{publisher: publisher, receiver: receiver}, nil
}

// nodeDir finds this module's node directory from the working directory.
func nodeDir() (string, error) {
	for _, dir := range []string{"node", filepath.Join("bench", "node")} {
		if _, err := os.Stat(filepath.Join(dir, "receiver.js")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("run it from the root of the repository or from bench, where node/receiver.js is")
}

func (p *nodePair) close() error { return errors.Join(p.publisher.close(), p.receiver.close()) }

// nodeServers makes the package publish and receive.
func nodeServers(packets clientPackets) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		pair, err := startNode(ctx, s.redis.URL, packets)
		if err != nil {
			return nil, err
		}
		s.later(pair.close)
		s.count(pair.publisher.Pid())
		s.count(pair.receiver.Pid())
		// Untimed, so that the first round runs compiled code too.
		_, _, err = pair.round(ctx, time.Second)
		return func(ctx context.Context) (int64, figures, error) { return pair.round(ctx, s.length) }, err
	}
}

// round starts the publisher and passes the receiver's counts to it, which closes the loop.
func (p *nodePair) round(ctx context.Context, length time.Duration) (int64, figures, error) {
	before := p.got
	timeout := time.After(length + 10*time.Second)
	if err := p.publisher.tell("go", length.Milliseconds()); err != nil {
		return 0, nil, err
	}
	for finished := false; !finished || p.got < p.sent; {
		select {
		case l, ok := <-p.publisher.said:
			if !ok {
				return 0, nil, p.publisher.ended()
			}
			p.sent, finished = l.n, true
		case l, ok := <-p.receiver.said:
			if !ok {
				return 0, nil, p.receiver.ended()
			}
			p.got = l.n
			if err := p.publisher.tell("got", p.got); err != nil {
				return 0, nil, err
			}
		case <-timeout:
			return 0, nil, fmt.Errorf("%d messages sent, %d arrived", p.sent, p.got)
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
	if p.got != p.sent {
		return 0, nil, fmt.Errorf("%d messages sent, %d arrived", p.sent, p.got)
	}
	return p.got - before, nil, nil
}

// nodeProcess exchanges lines of a word and a number.
type nodeProcess struct {
	*child.Process
	script string
	said   chan line // closed at the end of the output
}

type line struct {
	word string
	n    int64
}

func startNodeProcess(dir, script, redisURL string, packets clientPackets) (*nodeProcess, error) {
	cmd := exec.Command("node", script, redisURL, string(packets))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	p := &nodeProcess{script: script, said: make(chan line, 1024)}
	var err error
	if p.Process, err = child.Start(cmd, p.listen); err != nil {
		return nil, err
	}
	select {
	case l, ok := <-p.said:
		if !ok || l.word != "ready" {
			return nil, errors.Join(fmt.Errorf("%s said %q instead of ready", script, l.word), p.close())
		}
	case <-time.After(20 * time.Second):
		return nil, errors.Join(fmt.Errorf("%s is not ready", script), p.close())
	}
	return p, nil
}

// listen passes on the lines of the process.
func (p *nodeProcess) listen(output io.Reader) {
	defer close(p.said)
	for s := bufio.NewScanner(output); s.Scan(); {
		word, number, _ := strings.Cut(s.Text(), " ")
		n, _ := strconv.ParseInt(number, 10, 64)
		p.said <- line{word, n}
	}
}

func (p *nodeProcess) tell(word string, n int64) error {
	_, err := fmt.Fprintf(p.Input, "%s %d\n", word, n)
	return err
}

// ended returns how the process terminated, after said was closed.
func (p *nodeProcess) ended() error { return fmt.Errorf("%s ended: %v", p.script, p.Finish()) }

// close closes the input of the process and waits for it.
func (p *nodeProcess) close() error {
	_ = p.Input.Close()
	go func() { // ends with the process
		for range p.said {
		}
	}()
	return p.Finish()
}
