package tsdb

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the child process of TestKill9 when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(appendUntilKilled(dir))
	}
	goleak.VerifyTestMain(m)
}
