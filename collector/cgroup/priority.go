package cgroup

import (
	"log/slog"
	"runtime"

	"golang.org/x/sys/unix"
)

// hurry binds the goroutine to its thread and lets the kernel run that thread
// ahead of what the machine computes. Between the end of a container's last
// process and the removal of its directory there are some milliseconds, which
// on a loaded machine pass while an ordinary thread waits for its turn; a nice
// value does not help, for it counts within one cgroup only. The loop works for
// microseconds at a time. The thread ends with its goroutine, and what it
// starts does not inherit the priority.
//
// It needs CAP_SYS_NICE. Without, short-lived containers are missed (and
// counted) more often on machines that are busy.
func hurry(log *slog.Logger) {
	runtime.LockOSThread()
	attr := unix.SchedAttr{
		Size:     unix.SizeofSchedAttr,
		Policy:   unix.SCHED_RR,
		Flags:    unix.SCHED_FLAG_RESET_ON_FORK,
		Priority: 1, // the lowest of those above all ordinary threads
	}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		log.Debug("The watch of cgroups runs at ordinary priority; CAP_SYS_NICE would raise it.", "err", err)
	}
}
