package demo

import (
	"context"
	"os"
	"syscall"
	"time"
)

const (
	// leakLimit is the memory limit of the workload that leaks. The program
	// itself needs a part of it.
	leakLimit = 96 << 20
	// leakStep is kept for good in each step.
	leakStep = 1 << 20
)

// runCart keeps sessions that nobody asks for any more, until its memory limit
// ends it: a minute or so.
func runCart(ctx context.Context, o *output) error {
	o.out(`time=%s level=info msg="ready to serve" addr=:8081 memory_limit=%dMi`, o.stamp(), leakLimit>>20)
	var sessions [][]byte
	for o.pause(ctx, time.Second) {
		memory := make([]byte, leakStep)
		for i := 0; i < len(memory); i += 512 { // pages that are not written to do not exist
			memory[i] = byte(len(sessions))
		}
		sessions = append(sessions, memory)
		level, message := "info", "session cached"
		if len(sessions)*leakStep > leakLimit/2 {
			level, message = "warn", "cache grows, nothing is evicted"
		}
		o.out(`time=%s level=%s msg=%q sessions=%d cache_mib=%d`, o.stamp(), level, message, len(sessions)*40, len(sessions)*leakStep>>20)
		if len(sessions)*leakStep >= leakLimit {
			// Where no cgroup sets a limit this is what it would do.
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	o.out(`time=%s level=info msg="shutting down" sessions=%d`, o.stamp(), len(sessions)*40)
	return nil
}
