package servers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// ReplyError is an error reply of a Redis server, unchanged.
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// exchange opens a connection, runs the commands one after the other and returns the last reply: a string, an int64,
// nil, a []any, or a ReplyError as the error.
func exchange(ctx context.Context, addr string, config *tls.Config, commands ...[]string) (any, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := nc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if config != nil {
		nc = tls.Client(nc, config)
	}
	r := bufio.NewReader(nc)
	var answer any
	for _, command := range commands {
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(command))
		for _, arg := range command {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
		}
		if _, err := io.WriteString(nc, b.String()); err != nil {
			return nil, err
		}
		if answer, err = readReply(r); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("empty reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, ReplyError(rest)
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return nil, fmt.Errorf("reply %q: %w", line, err)
	}
	switch {
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			v, err := readReply(r)
			var inner ReplyError
			if errors.As(err, &inner) {
				v, err = inner, nil
			}
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	}
	return nil, fmt.Errorf("reply %q not understood", line)
}
