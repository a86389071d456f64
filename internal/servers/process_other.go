//go:build !linux

package servers

import "syscall"

// childAttr has nothing to say where the system cannot tie a child to its parent.
func childAttr() *syscall.SysProcAttr { return nil }
