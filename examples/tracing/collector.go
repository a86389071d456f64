package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// collector receives traces by OTLP over HTTP, as Protocol Buffers and as JSON, and writes each export as one line of
// OTLP JSON. It is the smallest possible target of exports; production uses an OpenTelemetry Collector.
type collector struct {
	URL    string
	server http.Server
	served chan struct{}

	mu  sync.Mutex
	to  io.Writer
	err error
}

func startCollector(to io.Writer) (*collector, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &collector{URL: "http://" + l.Addr().String(), to: to, served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.traces)
	c.server.Handler = mux
	go func() { // ends with close
		defer close(c.served)
		_ = c.server.Serve(l)
	}()
	return c, nil
}

// close stops the server and returns the errors of its requests.
func (c *collector) close() error {
	err := c.server.Close()
	<-c.served
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(err, c.err)
}

func (c *collector) traces(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err == nil {
		err = c.take(r.Header.Get("Content-Type"), body)
	}
	if err != nil {
		c.mu.Lock()
		c.err = errors.Join(c.err, err)
		c.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_, _ = io.WriteString(w, "{}") // an empty answer; of Protocol Buffers that is no byte
	}
}

func (c *collector) take(contentType string, body []byte) error {
	if contentType == "application/x-protobuf" {
		var export coltrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &export); err != nil {
			return err
		}
		text, err := protojson.Marshal(&export)
		if err != nil {
			return err
		}
		if body, err = hexIDs(text); err != nil {
			return err
		}
	}
	var line bytes.Buffer
	if err := json.Compact(&line, body); err != nil {
		return fmt.Errorf("%s: %w", contentType, err)
	}
	line.WriteByte('\n')
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.to.Write(line.Bytes())
	return err
}

// hexIDs converts the ids in the JSON of Protocol Buffers, base64, to those of OTLP.
func hexIDs(text []byte) ([]byte, error) {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	var walk func(v any) error
	walk = func(v any) error {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if err := walk(e); err != nil {
					return err
				}
			}
		case map[string]any:
			for key, e := range v {
				id, ok := e.(string)
				if !ok || key != "traceId" && key != "spanId" && key != "parentSpanId" {
					if err := walk(e); err != nil {
						return err
					}
					continue
				}
				raw, err := base64.StdEncoding.DecodeString(id)
				if err != nil {
					return err
				}
				v[key] = hex.EncodeToString(raw)
			}
		}
		return nil
	}
	if err := walk(v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
