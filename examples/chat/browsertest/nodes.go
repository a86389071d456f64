package browsertest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/crossroom/crossroom/internal/child"
	"github.com/crossroom/crossroom/internal/servers"
)

// Node is a chat server in a process of its own.
type Node struct {
	*servers.Server
	Name string
	Kind string // "go" or "node"
}

// URL returns the node's address.
func (n *Node) URL() string { return "http://" + n.Addr() }

// PageURL returns an address that opens the node's page as a user in some rooms.
func (n *Node) PageURL(name string, rooms ...string) string {
	return n.URL() + "/?" + url.Values{"name": {name}, "node": {n.Name}, "room": rooms}.Encode()
}

// Fleet is a redis-server with chat nodes behind it.
type Fleet struct {
	Redis *servers.Redis
	Nodes []*Node
}

// StartFleet starts a redis-server and nodes of these kinds, with names such as go-1, go-2, node-1.
func StartFleet(tb testing.TB, kinds ...string) *Fleet {
	tb.Helper()
	f := &Fleet{Redis: servers.StartRedis(tb, nil)}
	type entry struct {
		Name string `json:"name"`
		URL  string `json:"url"`
		Kind string `json:"kind"`
	}
	var entries []entry
	count := make(map[string]int)
	ports := make([]int, len(kinds))
	for i, kind := range kinds {
		count[kind]++
		ports[i] = servers.FreePort(tb)
		entries = append(entries, entry{fmt.Sprintf("%s-%d", kind, count[kind]), "http://127.0.0.1:" + strconv.Itoa(ports[i]), kind})
	}
	list, err := json.Marshal(entries)
	if err != nil {
		tb.Fatal(err)
	}
	programs := make(map[string][]string)
	for i, e := range entries {
		program := programs[e.Kind]
		if program == nil {
			program = command(tb, e.Kind)
			programs[e.Kind] = program
		}
		args := append(program[1:len(program):len(program)], "--name", e.Name, "--port", strconv.Itoa(ports[i]), "--broker", f.Redis.URL(), "--nodes", string(list))
		server := servers.StartProgram(tb, e.Name, program[0], args, ports[i], child.Serves(e.URL+"/nodes.json"))
		f.Nodes = append(f.Nodes, &Node{Server: server, Name: e.Name, Kind: e.Kind})
	}
	return f
}

// command returns the command that starts a node of a kind, without its flags.
func command(tb testing.TB, kind string) []string {
	tb.Helper()
	if kind == "node" {
		return []string{servers.Binary(tb, "node"), Script(tb, "server.js")}
	}
	build, args := built, []string(nil)
	if kind == "zishang520" {
		page, err := filepath.Abs(filepath.Join("..", "page"))
		if err != nil {
			tb.Fatal(err)
		}
		build, args = builtSocketIO, []string{"--page", page}
	}
	bin, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return append([]string{bin}, args...)
}

// built and builtSocketIO build a Go node, once for all fleets, and return its path.
var (
	built         = sync.OnceValues(func() (string, error) { return buildOf("chat") })
	builtSocketIO = sync.OnceValues(func() (string, error) { return buildOf("socketio") })
)

// buildOf builds an example.
func buildOf(example string) (string, error) {
	dir, err := os.MkdirTemp("", "crossroom-chat-")
	if err != nil {
		return "", err
	}
	builtMu.Lock()
	builtDirs = append(builtDirs, dir)
	builtMu.Unlock()
	bin := filepath.Join(dir, example)
	cmd := exec.Command("go", append(build[:len(build):len(build)], "-o", bin, "github.com/crossroom/crossroom/examples/"+example)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return bin, nil
}

var (
	builtMu   sync.Mutex
	builtDirs []string
)

// Main runs the tests of a package that starts fleets, and removes what was built for them.
func Main(m *testing.M) {
	code := m.Run()
	for _, dir := range builtDirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// Script returns the path of a program in ../node, whose packages must be installed.
func Script(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "node"))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		servers.Missing(tb, "npm packages of examples/chat/node", fmt.Errorf("%w; run scripts/setup", err))
	}
	return filepath.Join(dir, name)
}
