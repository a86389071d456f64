// Package page serves the chat's page.
package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

//go:embed *.html *.css *.js *.svg vendor
var files embed.FS

// policy lets the page load its own files and connect to nodes, and nothing else: no inline scripts, no frames around it.
// Pictures that users sent are blobs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self' blob: ws: wss:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Offer returns the JSON text of Go nodes on consecutive ports of a host.
func Offer(names []string, host string, port int) string {
	var nodes []map[string]string
	for i, name := range names {
		nodes = append(nodes, map[string]string{"name": name, "url": fmt.Sprintf("http://%s:%d", host, port+i), "kind": "go"})
	}
	text, _ := json.Marshal(nodes) // strings only
	return string(text)
}

// Serve serves the page at an address until Shutdown, with nodes, the JSON text of those that it offers, as nodes.json,
// and clients as socket.io.
func Serve(at, nodes string, clients http.Handler) (*http.Server, error) {
	listener, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("/nodes.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, nodes)
	})
	all := http.NewServeMux()
	all.Handle("/", Secure(mux))
	all.Handle("/socket.io/", clients)
	web := &http.Server{Handler: all, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go web.Serve(listener)
	return web, nil
}

// Secure adds headers to the responses of h: pages run only their own scripts, connect only to nodes, and files have the
// type that h gives them.
func Secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		h.ServeHTTP(w, r)
	})
}
