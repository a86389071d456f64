// Command migration moves a chat from socket.io 2 to socket.io 4 without a break: a fleet of
// each generation on one Redis, two Go nodes that bridge them, and clients of both. It
// prints what happens; docs/MIGRATION.md explains it.
//
//	go run ./migration
//
// "make migration" in the directory above runs it, and installs what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/crossroom/crossroom/internal/child"
)

func main() {
	ctx := context.Background()
	if redis, ok := os.LookupEnv(envBridge); ok {
		if err := bridge(ctx, redis, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bridge:", err)
			os.Exit(1)
		}
		return
	}
	node := flag.String("node", "migration/node", "directory of the Node.js side, where npm ci was run")
	flag.Parse()
	if err := run(ctx, *node, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "migration:", err)
		os.Exit(1)
	}
}

// stage is the set of running processes.
type stage struct {
	out    io.Writer
	redis  string
	dir    string
	people *people
	urls   map[string]string // of Node.js servers
	all    map[string]*process
}

func run(ctx context.Context, dir string, out io.Writer) (err error) {
	redis, err := child.StartRedis(ctx)
	if err != nil {
		return err
	}
	defer redis.Stop()
	s := &stage{out: out, redis: redis.URL, dir: dir, urls: map[string]string{}, all: map[string]*process{}}
	defer func() {
		for _, p := range s.all {
			err = errors.Join(err, p.stop())
		}
	}()
	clients, _, err := startNode("clients", dir, "clients.js")
	if err != nil {
		return err
	}
	s.all["clients"] = clients
	s.people = &people{process: clients, heard: map[string][]string{}}
	for _, scene := range []func(*stage) error{before, both, planned, crash, move, after} {
		if err := scene(s); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	return nil
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func before(s *stage) error {
	s.say("1. The fleet of socket.io 2, prefix socket.io")
	return errors.Join(
		s.server("old-1", "old.js"), s.server("old-2", "old.js"),
		s.connect("alice", 2, "old-1"), s.connect("bob", 2, "old-2"),
		s.says("alice", "hello"))
}

func both(s *stage) error {
	s.say("2. Two Go nodes on both prefixes, and a fleet of socket.io 4, prefix socket.io-4")
	return errors.Join(
		s.bridge("go-1"), s.bridge("go-2"),
		s.server("new-1", "new.js"), s.server("new-2", "new.js"),
		s.connect("carol", 4, "new-1"), s.connect("dave", 4, "new-2"),
		s.says("alice", "is anyone here?"), s.says("carol", "I am, with socket.io 4"),
		s.shows("bob", "89504e47"), s.shows("dave", "ffd8ffe0"),
		s.ask("go-2"))
}

func planned(s *stage) error {
	s.say("3. A deployment: go-1, which passes messages on, is closed and started again")
	return errors.Join(s.talk("alice", "carol", func() error { return s.stop("go-1") }), s.bridge("go-1"))
}

func crash(s *stage) error {
	s.say("4. A crash: go-2, which passes messages on now, is killed (kill -9)")
	return s.talk("bob", "dave", func() error {
		s.all["go-2"].kill()
		delete(s.all, "go-2")
		return nil
	})
}

func move(s *stage) error {
	s.say("5. The clients move: each connects to the new fleet when it has been updated")
	return errors.Join(
		s.people.leave("bob"), s.connect("bob", 4, "new-2"),
		s.says("bob", "I have moved"), s.says("alice", "I have not"),
		s.people.leave("alice"), s.connect("alice", 4, "new-1"),
		s.says("alice", "now I have"))
}

func after(s *stage) error {
	s.say("6. The old fleet ends, and then the bridge")
	return errors.Join(s.stop("old-1"), s.stop("old-2"), s.stop("go-1"), s.says("carol", "are all here?"))
}

func (s *stage) server(name, script string) error {
	p, url, err := startNode(name, s.dir, script, s.redis)
	if err != nil {
		return err
	}
	s.all[name], s.urls[name] = p, url
	return nil
}

func (s *stage) bridge(name string) error {
	p, err := startBridge(name, s.redis)
	if err != nil {
		return err
	}
	s.all[name] = p
	return nil
}

func (s *stage) stop(name string) error {
	p := s.all[name]
	delete(s.all, name)
	return p.stop()
}

func (s *stage) connect(name string, version int, server string) error {
	s.say("   %-5s connects to %s with socket.io-client %d", name, server, version)
	return s.people.connect(name, version, s.urls[server])
}

func (s *stage) says(name, text string) error {
	who, err := s.people.say("say", name, text)
	s.say("   %-5s says %q: heard by %s", name, text, who)
	return err
}

func (s *stage) shows(name, hex string) error {
	who, err := s.people.say("show", name, hex)
	s.say("   %-5s shows a picture of %d bytes: seen by %s", name, len(hex)/2, who)
	return err
}

func (s *stage) talk(one, two string, happen func() error) error {
	heard, err := s.people.talk(one, two, 200, happen)
	s.say("   %s and %s talk meanwhile, %s", one, two, heard)
	return err
}

// ask requests the list of sockets from a Go node.
func (s *stage) ask(name string) error {
	p := s.all[name]
	if _, err := fmt.Fprintln(p.Input, "who"); err != nil {
		return err
	}
	line, err := p.line()
	s.say("   %s asks both fleets: %s", name, line)
	return err
}
