package interop_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// zishangNode is a server of contrib/zishang520, with real clients.
type zishangNode struct {
	server, clients *interop.Peer
	url             string
	ids             map[string]string // ids of clients, by name; only the test uses it
}

// The place of the table of contrib/zishang520.
const (
	zishangFile  = "../../contrib/zishang520/README.md"
	zishangBegin = "<!-- Written by: go test ./internal/interop -run '^TestZishang520$' -update -->\n"
)

// TestZishang520 runs every case in fleets of two Node.js servers and two servers of
// zishang520 with Crossroom, in both directions, and writes the table of what passed.
func TestZishang520(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	program := buildZishang(t)
	clients := interop.Start(t, interop.Config{Generation: interop.Clients, Name: "clients"})
	results := newTable(t)
	titles := map[interop.Generation]string{v5: "socket.io-redis-5", v6: "socket.io-redis-6", v8: "@socket.io/redis-adapter"}
	generations := []interop.Generation{v5, v6, v8}
	var columns []column
	for _, g := range generations {
		title := strings.TrimSuffix(titles[g], "-"+string(g[1:])) + " " + results.versions[titles[g]]
		columns = append(columns, column{string(g) + " asks", title + " asks", asNode(g)}, column{"Go asks " + string(g), "Go asks", asGo(g)})
	}
	t.Run("all", func(t *testing.T) {
		for i, g := range generations {
			t.Run(string(g), func(t *testing.T) {
				t.Parallel()
				prefix := "zishang-" + string(g)
				js1, js2 := startPeer(t, g, "js1", redis.URL(), prefix), startPeer(t, g, "js2", redis.URL(), prefix)
				go1, go2 := startZishang(t, program, clients, g, "go1", redis.URL(), prefix), startZishang(t, program, clients, g, "go2", redis.URL(), prefix)
				for k, fleet := range [][]node{{js1, go1, js2, go2}, {go1, js1, go2, js2}} {
					c := columns[2*i+k]
					t.Run(c.name, func(t *testing.T) {
						run(t, c.can, func(t *testing.T, row testCase) {
							defer func() { results.set(row.operation, c.name, !t.Failed()) }()
							row.run(stage(t, g, "", fleet[0], fleet...))
						})
					})
				}
				t.Run("upgrade", func(t *testing.T) { upgradesOf(stage(t, g, "", js1, js1, go1)) })
			})
		}
	})
	var b strings.Builder
	b.WriteString("\nFleets of two Node.js servers and two servers of zishang520 with Crossroom, through one Redis, each with stock\n")
	b.WriteString("clients by polling and by WebSocket. A dash is what the asking package, or its generation, does not have.\n\n")
	complete := results.render(&b, columns)
	b.WriteString("\n")
	checkTable(t, zishangFile, zishangBegin, b.String(), complete)
}

// upgradesOf checks that a client that begins with polling and upgrades to a WebSocket loses and
// repeats nothing.
func upgradesOf(s *scene) {
	goes := s.far().(*zishangNode)
	for _, n := range []string{"a", "b", "c"} {
		s.connect(goes, n, args{"upgrade": true}, "red")
	}
	const n = 300
	for i := range n {
		s.ask("emit", args{"to": []any{"red"}, "event": "step", "args": []any{i}})
	}
	for c, got := range s.settle() {
		require.Len(s, got, n, c.name)
		for i, m := range got {
			require.Equal(s, interop.Text([]any{i}), interop.Text(m.Args))
		}
		require.Equal(s, "websocket", s.do(goes, "transport", args{"client": c.name}))
	}
}

// buildZishang builds the program of the servers.
func buildZishang(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "peer")
	build := exec.Command("go", "build", "-o", program, "./internal/peer")
	build.Dir = filepath.Dir(zishangFile)
	build.Stderr = os.Stderr
	require.NoError(t, build.Run())
	return program
}

func startZishang(t *testing.T, program string, clients *interop.Peer, g interop.Generation, name, url, prefix string) *zishangNode {
	t.Helper()
	n := &zishangNode{clients: clients, ids: map[string]string{}}
	n.server = interop.Start(t, interop.Config{Generation: g, Name: name, Redis: url, Prefix: prefix, Program: program})
	at, err := n.server.Call(t.Context(), "url", args{"nsp": "/"})
	require.NoError(t, err)
	n.url = at.(string)
	return n
}

func (n *zishangNode) Name() string     { return n.server.Name() }
func (n *zishangNode) Faults() []string { return n.server.Faults() }

func (n *zishangNode) Inbox(name string) *interop.Inbox {
	if strings.Contains(name, " listener ") {
		return n.server.Inbox(name)
	}
	return n.clients.Inbox(name)
}

// Call implements node. Clients are in another process than their server, which knows them by their
// ids.
func (n *zishangNode) Call(ctx context.Context, op string, a args) (any, error) {
	switch op {
	case "connect":
		name := a["name"].(string)
		id, err := n.clients.Call(ctx, op, with(a, args{"url": n.url}))
		if err != nil {
			return nil, err
		}
		n.ids[name] = id.(string)
		_, err = n.server.Call(ctx, "enter", with(a, args{"id": id}))
		return id, err
	case "close":
		return n.clients.Call(ctx, op, a)
	}
	if name, ok := a["client"].(string); ok {
		a = with(a, args{"id": n.ids[name]})
	}
	if from, ok := a["from"].(string); ok {
		a = with(a, args{"from": n.ids[from]})
	}
	return n.server.Call(ctx, op, a)
}
