package main

import (
	"os"
	"path/filepath"
	"strings"
)

// logSources are the log files that the agent half reads.
type logSources struct {
	// roots are folders laid out like /var/log/pods, globs patterns of files.
	roots, globs []string
}

// machineLogs are read where there are no pods, below the host's root.
var machineLogs = []string{"var/log/*.log", "var/log/syslog", "var/log/messages"}

// dockerLogs is where Docker keeps the logs of its containers.
const dockerLogs = "var/lib/docker/containers"

// sources resolves --logs and what stands for it when it is not given: the
// pods' logs; with fallback, where there are none, those of Docker and of the
// machine itself.
func (s *modeSettings) sources(fallback bool) logSources {
	var from logSources
	for _, name := range s.logs.files {
		if isDir(name) || strings.HasSuffix(name, "/") { // one that may come later cannot be asked
			from.roots = append(from.roots, absolute(name))
			continue
		}
		from.globs = append(from.globs, absolute(name))
	}
	if len(s.logs.files) > 0 {
		return from
	}
	pods := s.podLogsFolder()
	if !fallback || isDir(pods) {
		from.roots = []string{pods}
		return from
	}
	if docker := filepath.Join(s.rootFS, dockerLogs); isDir(docker) {
		from.roots = []string{docker}
	}
	for _, pattern := range machineLogs {
		from.globs = append(from.globs, absolute(filepath.Join(s.rootFS, pattern)))
	}
	return from
}

// podLogsFolder is where the kubelet keeps the logs of pods.
func (s *modeSettings) podLogsFolder() string {
	if s.podLogsRoot != "" {
		return absolute(s.podLogsRoot)
	}
	return absolute(filepath.Join(s.rootFS, "var/log/pods"))
}

// String lists the sources for people.
func (l logSources) String() string {
	return strings.Join(append(append([]string(nil), l.roots...), l.globs...), ", ")
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// absolute makes a name that was given relative to the working folder stand on
// its own.
func absolute(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	return abs
}
