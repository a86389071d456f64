package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// clients opens n connections, and reports for each broadcast when the last one has read it.
func clients(address string, n int) error {
	var number atomic.Int64
	var missing atomic.Int64
	number.Store(-1)
	last := make(chan int64, 1)
	got := func(i int64) {
		if i == number.Load() && missing.Add(-1) == 0 {
			last <- time.Now().UnixNano()
		}
	}
	broken := make(chan error, n)
	var joined sync.WaitGroup
	slots := make(chan struct{}, 64)
	for range n {
		slots <- struct{}{}
		joined.Go(func() {
			defer func() { <-slots }()
			conn, r, err := dialServer(address)
			if err != nil {
				broken <- err
				return
			}
			go func() { broken <- read(conn, r, got) }()
		})
	}
	joined.Wait()
	select {
	case err := <-broken:
		return err
	case <-time.After(2 * time.Second): // for the last responses
	}
	out := json.NewEncoder(os.Stdout)
	out.Encode(report{})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		i, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return err
		}
		if words[0] == "churn" {
			took, err := churn(address, int(i))
			if err != nil {
				return err
			}
			out.Encode(report{CPU: took})
			continue
		}
		missing.Store(int64(n))
		number.Store(i)
		out.Encode(report{})
		select {
		case at := <-last:
			out.Encode(report{Last: at})
		case err := <-broken:
			return err
		case <-time.After(time.Minute):
			return fmt.Errorf("%d clients lack broadcast %d", missing.Load(), i)
		}
	}
	return nil
}

// churn opens and closes n connections, perSecond in a second or as many as the machine can, and returns the time.
func churn(address string, n int) (time.Duration, error) {
	began := time.Now()
	slots := make(chan struct{}, 32)
	var all sync.WaitGroup
	failed := make(chan error, n)
	for i := range n {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / perSecond)))
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			conn, _, err := dialServer(address)
			if err != nil {
				failed <- err
				return
			}
			conn.Close()
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return time.Since(began), nil
	}
}

const perSecond = 2000

func dialServer(address string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, 512)
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+address+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return nil, nil, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, errors.New(res.Status)
	}
	return conn, r, write(conn, 1, []byte(`{"id":1,"connect":{}}`)) // centrifuge's; the others drop it
}

// write sends a frame whose mask is zero.
func write(conn net.Conn, opcode byte, payload []byte) error {
	_, err := conn.Write(append([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
	return err
}

// read calls got with the number of each broadcast.
func read(conn net.Conn, r *bufio.Reader, got func(int64)) error {
	var head [4]byte
	var payload []byte
	for {
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return err
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(r, head[2:]); err != nil {
				return err
			}
			size = int(binary.BigEndian.Uint16(head[2:]))
		}
		payload = append(payload[:0], make([]byte, size)...)
		if _, err := io.ReadFull(r, payload); err != nil {
			return err
		}
		var err error
		switch {
		case head[0] == 0x89:
			err = write(conn, 10, payload)
		case head[0] == 0x88:
			return fmt.Errorf("the server closes: %q", payload)
		default:
			for line := range bytes.SplitSeq(payload, []byte("\n")) { // centrifuge puts several into one frame
				if string(line) == "{}" { // its ping
					err = errors.Join(err, write(conn, 1, line))
				}
				if _, rest, ok := bytes.Cut(line, []byte(`"n":`)); ok {
					digits, _, _ := bytes.Cut(rest, []byte(","))
					i, bad := strconv.ParseInt(string(digits), 10, 64)
					err = errors.Join(err, bad)
					got(i)
				}
			}
		}
		if err != nil {
			return err
		}
	}
}
