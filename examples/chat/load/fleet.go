package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// fleet is three nodes.
type fleet struct {
	urls []string
	pids []int
}

func (p *processes) startFleet(o options) (*fleet, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	bin, args, err := p.command(o)
	if err != nil {
		return nil, err
	}
	f := &fleet{}
	for i, port := range ports {
		cmd, _, out, err := p.start(bin, append(args, "--name", fmt.Sprintf("%s-%d", o.kind, i+1), "--port", port, "--broker", o.broker)...)
		if err != nil {
			return nil, err
		}
		go io.Copy(io.Discard, out) // ends with the process
		url := "http://127.0.0.1:" + port
		if err := p.until(func() error { return get(p.ctx, url+"/nodes.json") }); err != nil {
			return nil, err
		}
		f.urls = append(f.urls, url)
		f.pids = append(f.pids, cmd.Process.Pid)
	}
	return f, nil
}

// command is what starts a node of the wanted kind, without its flags.
func (p *processes) command(o options) (bin string, args []string, err error) {
	if o.kind == "node" {
		return "node", []string{filepath.Join(o.dir, "node", "server.js")}, nil
	}
	bin = filepath.Join(p.dir, "chat")
	build := exec.CommandContext(p.ctx, "go", "build", "-o", bin, "github.com/crossroom/crossroom/examples/chat")
	if out, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return bin, nil, nil
}

// startRedis starts a redis-server and returns its address.
func (p *processes) startRedis() (broker string, err error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		if bin, err = exec.LookPath(filepath.Join("..", ".tools", "redis-server")); err != nil {
			return "", errors.New("no redis-server; run scripts/setup")
		}
	}
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	_, _, out, err := p.start(bin, "--bind", "127.0.0.1", "--port", ports[0], "--save", "", "--dir", p.dir, "--loglevel", "warning")
	if err != nil {
		return "", err
	}
	go io.Copy(io.Discard, out) // ends with the process
	addr := "127.0.0.1:" + ports[0]
	return "redis://" + addr, p.until(func() error { return ping(addr) })
}

// memory is the resident memory of all nodes together, in bytes. Linux only.
func (f *fleet) memory() (total int64, err error) {
	for _, pid := range f.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
		kib, err := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += kib << 10
	}
	return total, nil
}
