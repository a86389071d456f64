package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/crossroom/crossroom/internal/child"
)

// fleet is three nodes.
type fleet struct {
	urls []string
	pids []int
}

func (p *processes) startFleet(o options) (*fleet, error) {
	bin, args, err := p.command(o)
	if err != nil {
		return nil, err
	}
	f := &fleet{}
	for i := range 3 {
		port, err := child.FreePort()
		if err != nil {
			return nil, err
		}
		node, err := p.start(nil, bin, append(args, "--name", fmt.Sprintf("%s-%d", o.kind, i+1), "--port", strconv.Itoa(port), "--broker", o.broker)...)
		if err != nil {
			return nil, err
		}
		url := fmt.Sprintf("http://127.0.0.1:%d", port)
		if err := node.Await(p.ctx, child.Serves(url+"/nodes.json")); err != nil {
			return nil, err
		}
		f.urls = append(f.urls, url)
		f.pids = append(f.pids, node.Pid())
	}
	return f, nil
}

// command returns the command that starts a node of the wanted kind, without its flags.
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
