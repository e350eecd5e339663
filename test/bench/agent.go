package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// agentGroups is how many containers benchAgent has.
	agentGroups = 500
	// agentTime is how long the agent runs.
	agentTime = 60 * time.Second
)

// benchAgent measures the memory of an agent that sends to a server.
func benchAgent() (rows []result, err error) {
	f, err := newFleet(agentGroups)
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "binnacle-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	serverAddr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	server, err := launch("http://"+serverAddr+"/-/ready", "build/binnacle", "server", "--listen", serverAddr,
		"--data-dir", filepath.Join(dir, "server"), "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	defer server.close()
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	agent, err := launch("http://"+addr+"/-/ready", "build/binnacle", "agent", "--listen", addr, "--data-dir", filepath.Join(dir, "agent"),
		"--interval", "1s", "--server", "http://"+serverAddr, "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	defer agent.close()
	time.Sleep(agentTime)
	containers, err := scalar(serverAddr, `count(container_memory_usage_bytes{id=~"/kubepods/pod[^/]+/.+"})`)
	if err != nil {
		return nil, err
	}
	if containers < agentGroups {
		return nil, fmt.Errorf("the server has %.0f of %d containers", containers, agentGroups)
	}
	const bar = 80
	rss, peak := agent.memory("VmRSS")/1e6, agent.memory("VmHWM")/1e6
	return []result{{
		Name: fmt.Sprintf("agent, %d containers each second, resident", agentGroups), Unit: "MB", Ours: rss,
		Reference: peak, ReferenceName: "its own peak", Ratio: rss / bar, Bar: 1, OK: rss <= bar,
	}}, nil
}
