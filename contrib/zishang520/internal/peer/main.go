// Peer is a Socket.IO server of zishang520 with Crossroom as its adapter, for the tests of
// internal/interop. Its operations and reports are those of internal/interop/node/peer.js. Its
// clients run in another process.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/contrib/zishang520"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

type args = map[string]any

type peer struct {
	name  string
	url   string
	io    *socket.Server
	fleet *zishang520.Fleet

	mu  sync.Mutex
	out io.Writer
}

func main() {
	var config struct {
		Generation, Name, Redis, Prefix string
		RequestsTimeout                 int
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &config); err != nil {
		log.Fatal(err)
	}
	b, err := redisbroker.Open(config.Redis, &redisbroker.Options{Prefix: config.Prefix})
	if err != nil {
		log.Fatal(err)
	}
	p := &peer{name: config.Name, out: os.Stdout}
	opts := &adapter.Options{
		Name: config.Name, RequestsTimeout: 5 * time.Second, StallTimeout: 30 * time.Second,
		Heartbeat: 50 * time.Millisecond, PeerTimeout: 30 * time.Second,
		OnError: func(err error) { p.report(args{"kind": "fault", "what": "OnError", "error": err.Error()}) },
	}
	if config.RequestsTimeout > 0 {
		opts.RequestsTimeout = time.Duration(config.RequestsTimeout) * time.Millisecond
	}
	if config.Generation == string(interop.V5) {
		opts.Dialect = adapter.V5
	}
	p.io = socket.NewServer(nil, nil)
	p.fleet = zishang520.New(b, opts)
	p.io.SetAdapter(p.fleet)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	p.url = "http://" + l.Addr().String()
	go http.Serve(l, p.io.ServeHandler(nil))
	p.report(args{"kind": "ready"})

	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		go p.perform(line)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p.io.Close(nil)
	if err := errors.Join(p.fleet.Close(ctx), b.Close(ctx)); err != nil {
		log.Fatal(err)
	}
}

// report writes a line; args and value are in the notation of interop.Text.
func (p *peer) report(r args) {
	for _, k := range []string{"args", "value"} {
		if v, ok := r[k]; ok {
			r[k] = json.RawMessage(interop.Text(plain(v)))
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		log.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(append(line, '\n'))
}

func (p *peer) perform(line []byte) {
	var call struct {
		ID   int
		Op   string
		Args json.RawMessage
	}
	if err := json.Unmarshal(line, &call); err != nil {
		log.Fatal(err)
	}
	v, err := interop.Parse(call.Args)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	do, ok := operations[call.Op]
	if !ok {
		p.report(args{"kind": "result", "id": call.ID, "error": "no operation " + call.Op, "value": nil})
		return
	}
	a := v.(args)
	out, err := do(ctx, p, p.io.Of(a["nsp"], nil), a)
	r := args{"kind": "result", "id": call.ID, "value": out}
	if err != nil {
		r["error"] = err.Error()
	}
	p.report(r)
}

// plain returns a value without the types of the server.
func plain(v any) any {
	switch v := v.(type) {
	case io.Reader:
		b, _ := io.ReadAll(v)
		return b
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case args:
		out := args{}
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	}
	return v
}

// texts returns room names; a room may be given as a number.
func texts(list any) []socket.Room {
	values, _ := list.([]any)
	out := make([]socket.Room, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case string:
			out[i] = socket.Room(v)
		case float64:
			out[i] = socket.Room(strconv.FormatFloat(v, 'f', -1, 64))
		}
	}
	return out
}

func words[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = string(list[i])
	}
	return out
}

func list[S ~string](in []S) []any {
	out := make([]any, len(in))
	for i := range in {
		out[i] = string(in[i])
	}
	return out
}

// raw returns a value after encoding to JSON and decoding.
func raw(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	out, err := interop.Parse(text)
	if err != nil {
		return err.Error()
	}
	return out
}

func client(nsp socket.Namespace, id any) (*socket.Socket, error) {
	s, ok := nsp.Sockets().Load(socket.SocketId(id.(string)))
	if !ok {
		return nil, fmt.Errorf("no socket %v", id)
	}
	return s, nil
}
