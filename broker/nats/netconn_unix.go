//go:build unix

package natsbroker

import "syscall"

// tryWrite writes as much of p as the system accepts at once, perhaps nothing. The next blocking
// write reports an error.
func tryWrite(raw syscall.RawConn, p []byte) int {
	n := 0
	_ = raw.Write(func(fd uintptr) (done bool) {
		for n < len(p) {
			m, err := syscall.Write(int(fd), p[n:])
			if err == syscall.EINTR {
				continue
			}
			if err != nil || m <= 0 {
				break
			}
			n += m
		}
		return true
	})
	return n
}
