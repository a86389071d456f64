package redisbroker

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

const (
	// replyBytes, replyItems and replyDepth limit what readReply accepts. The longest reply is
	// that to CLUSTER NODES, with about 150 bytes for each node, and more for scattered slots.
	replyBytes = 16 << 20
	replyItems = 1 << 16
	replyDepth = 4
)

// readReply reads the reply to a command: a string, nil, a *ServerError, or a []any of these.
// Maps and sets become lists, and numbers become strings.
func readReply(r *bufio.Reader, command string) (any, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	return readRest(r, line, command, replyDepth)
}

// readRest reads the rest of a reply after its first line. line is valid until the next read.
func readRest(r *bufio.Reader, line []byte, command string, depth int) (any, error) {
	kind, text := line[0], string(line[1:])
	switch kind {
	case '+', ':', ',', '(', '#':
		return text, nil
	case '-':
		return &ServerError{Command: command, Reply: text}, nil
	case '_':
		return nil, nil
	case '$', '=', '*', '~', '%', '>':
	default:
		return nil, protocolError(fmt.Sprintf("line %.40q", line))
	}
	n, err := number(line)
	if err != nil || n < 0 {
		return nil, err
	}
	switch {
	case kind == '$' || kind == '=':
		return readText(r, n, kind == '=')
	case kind == '%':
		n *= 2
	}
	if n > replyItems || depth == 0 {
		return nil, protocolError(fmt.Sprintf("reply to %s with too many parts", command))
	}
	list := make([]any, n)
	for i := range list {
		if line, err = readLine(r); err != nil {
			return nil, err
		}
		if list[i], err = readRest(r, line, command, depth-1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readText reads a string of n bytes. A verbatim string begins with its format.
func readText(r *bufio.Reader, n int, verbatim bool) (any, error) {
	if n > replyBytes {
		return nil, protocolError(fmt.Sprintf("length %d", n))
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	text := string(b[:n])
	if verbatim {
		text = strings.TrimPrefix(text, "txt:")
	}
	return text, nil
}
