package redisbroker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxBulk is the longest string accepted from a server, in bytes: the default limit of Redis.
const maxBulk = 512 << 20

// appendCommand appends a command to dst, as an array of bulk strings.
func appendCommand(dst []byte, args ...string) []byte {
	dst = appendHeader(dst, '*', len(args))
	for _, a := range args {
		dst = appendHeader(dst, '$', len(a))
		dst = append(dst, a...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

func appendHeader(dst []byte, kind byte, n int) []byte {
	dst = append(dst, kind)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

// readLine returns a line without its CRLF. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, protocolError("line too long")
		}
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, protocolError(fmt.Sprintf("line %.40q", line))
	}
	return line[:len(line)-2], nil
}

// number returns the number after the first byte of a line such as "$12".
func number(line []byte) (int, error) {
	digits := line[1:]
	if bytes.Equal(digits, []byte("-1")) {
		return -1, nil
	}
	if len(digits) == 0 || len(digits) > 10 {
		return 0, protocolError(fmt.Sprintf("line %.40q", line))
	}
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, protocolError(fmt.Sprintf("line %.40q", line))
		}
		n = n*10 + int(d-'0')
	}
	if n > maxBulk {
		return 0, protocolError(fmt.Sprintf("length %d", n))
	}
	return n, nil
}

// readLength reads a line of the given kind and returns its length.
func readLength(r *bufio.Reader, kind byte) (int, error) {
	const enough = 1 + 8 + 2 // the fast path takes up to eight digits
	if r.Buffered() >= enough {
		if b, err := r.Peek(enough); err == nil && b[0] == kind {
			n, i := 0, 1
			for ; i < enough-2 && b[i]-'0' < 10; i++ {
				n = n*10 + int(b[i]-'0')
			}
			if i > 1 && b[i] == '\r' && b[i+1] == '\n' {
				_, err = r.Discard(i + 2)
				return n, err
			}
		}
	}
	line, err := readLine(r)
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, protocolError(fmt.Sprintf("line %.40q instead of %q", line, kind))
	}
	return number(line)
}

// readSimple reads a one-line reply to a command. It returns an error reply as the first result.
func readSimple(r *bufio.Reader, command string) (*ServerError, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	switch line[0] {
	case '+', ':':
		return nil, nil
	case '-':
		return &ServerError{Command: command, Reply: string(line[1:])}, nil
	}
	return nil, protocolError(fmt.Sprintf("line %.40q", line))
}

// takeIntegers reads the buffered integer replies, up to any other reply. It returns their
// number.
func takeIntegers(r *bufio.Reader) int {
	b, _ := r.Peek(r.Buffered())
	n, off := 0, 0
	for off < len(b) && b[off] == ':' {
		end := bytes.IndexByte(b[off:], '\n')
		if end < 3 || b[off+end-1] != '\r' {
			break
		}
		off += end + 1
		n++
	}
	r.Discard(off) // cannot fail: these bytes are buffered
	return n
}

// readName appends a short string to dst. A string that is too long for a channel name becomes
// empty.
func readName(r *bufio.Reader, dst []byte) ([]byte, error) {
	n, err := readLength(r, '$')
	if err != nil {
		return dst, err
	}
	if n < 0 { // the name in the reply to UNSUBSCRIBE without a subscription
		return dst, nil
	}
	if n+2 > readBuffer {
		// Any client may publish to such a name. It is not a channel of this package, and neither
		// is the empty name.
		_, err := r.Discard(n + 2)
		return dst[:0], err
	}
	b, err := r.Peek(n + 2)
	if err != nil {
		return dst, err
	}
	dst = append(dst, b[:n]...)
	_, err = r.Discard(n + 2)
	return dst, err
}

// skipPayload discards a string.
func skipPayload(r *bufio.Reader) error {
	n, err := readLength(r, '$')
	if err != nil {
		return err
	}
	if n < 0 {
		return protocolError("no payload")
	}
	_, err = r.Discard(n + 2)
	return err
}

// readPayload reads a string into new memory.
func readPayload(r *bufio.Reader) ([]byte, error) {
	n, err := readLength(r, '$')
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, protocolError("no payload")
	}
	if r.Buffered() >= n+2 {
		b, err := r.Peek(n + 2)
		if err != nil {
			return nil, err
		}
		payload := append([]byte{}, b[:n]...) // make and copy would write the memory twice
		_, err = r.Discard(n + 2)
		return payload[:n:n], err
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, err
	}
	if _, err := r.Discard(2); err != nil {
		return nil, err
	}
	return payload, nil
}

// frameKind is the kind of a frame on a subscribed connection.
type frameKind uint8

const (
	frameMessage      frameKind = iota + 1 // name; the payload follows
	framePMessage                          // pattern, name; the payload follows
	frameSubscribed                        // name; from SUBSCRIBE or PSUBSCRIBE
	frameUnsubscribed                      // name; likewise
	framePong
	frameError // err
	frameReply // reply; to an examination, which needs RESP3 on such a connection
)

// frame is a frame on a subscribed connection. The next read overwrites its names.
type frame struct {
	kind          frameKind
	pattern, name []byte // pattern is set only for a framePMessage
	err           string
	reply         any
	resp3         bool // set before the first frame: frames begin with '>'
	// head is the beginning of the last pattern message, up to its name. Most messages begin as
	// the one before.
	head []byte
}

// answer returns the frame as the reply to a command of an examination.
func (f *frame) answer() any {
	switch f.kind {
	case frameReply:
		return f.reply
	case frameError:
		return &ServerError{Command: "examination", Reply: f.err}
	}
	return "PONG"
}

// readFrame reads the next frame without a message's payload. The caller reads or skips that,
// because most messages of a fleet are for rooms of other nodes.
func readFrame(r *bufio.Reader, f *frame) error {
	if n := len(f.head); n > 0 && r.Buffered() >= n {
		if b, _ := r.Peek(n); bytes.Equal(b, f.head) {
			_, err := r.Discard(n)
			if err == nil {
				f.kind = framePMessage
				f.name, err = readName(r, f.name[:0])
			}
			return err
		}
	}
	f.name, f.err = f.name[:0], ""
	line, err := readLine(r)
	if err != nil {
		return err
	}
	push := byte('*')
	if f.resp3 {
		push = '>'
	}
	switch {
	case line[0] == '-':
		f.kind, f.err = frameError, string(line[1:])
		return nil
	case line[0] == '+': // PONG before the first subscription
		f.kind = framePong
		return nil
	case line[0] == push:
	case f.resp3:
		f.kind = frameReply
		f.reply, err = readRest(r, line, "examination", replyDepth)
		return err
	default:
		return protocolError(fmt.Sprintf("line %.40q", line))
	}
	n, err := number(line)
	if err != nil {
		return err
	}
	// f.name is the buffer for the first part of the frame, its kind.
	if f.name, err = readName(r, f.name); err != nil {
		return err
	}
	kind, want := kindOf(f.name)
	if n != want {
		return protocolError(fmt.Sprintf("frame %.40q with %d parts", f.name, n))
	}
	f.kind, f.name = kind, f.name[:0]
	switch kind {
	case framePMessage:
		if f.pattern, err = readName(r, f.pattern[:0]); err != nil {
			return err
		}
		f.head = append(append(f.head[:0], push), "4\r\n$8\r\npmessage\r\n"...)
		f.head = appendHeader(f.head, '$', len(f.pattern))
		f.head = append(append(f.head, f.pattern...), '\r', '\n')
		fallthrough
	case frameMessage:
		f.name, err = readName(r, f.name)
		return err
	case framePong:
		f.name, err = readName(r, f.name)
		return err
	default:
		if f.name, err = readName(r, f.name); err != nil {
			return err
		}
		_, err = readLength(r, ':') // the number of subscriptions
		return err
	}
}

// kindOf returns the kind that a frame's first part names, and how many parts such a frame has.
func kindOf(word []byte) (frameKind, int) {
	switch string(word) {
	case "message", "smessage":
		return frameMessage, 3
	case "pmessage":
		return framePMessage, 4
	case "subscribe", "psubscribe", "ssubscribe":
		return frameSubscribed, 3
	case "unsubscribe", "punsubscribe", "sunsubscribe":
		return frameUnsubscribed, 3
	case "pong":
		return framePong, 2
	}
	return 0, 0
}
