package servers

import "syscall"

// childAttr makes a child die with the thread that started it. The caller keeps
// that thread alive.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
