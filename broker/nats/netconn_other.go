//go:build !unix

package natsbroker

import "syscall"

// tryWrite writes nothing: on this system netConn's goroutine writes everything.
func tryWrite(syscall.RawConn, []byte) int { return 0 }
