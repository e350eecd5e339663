package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// agentGroups is how many containers benchAgent has.
	agentGroups = 500
	// agentTime is how long the agent runs.
	agentTime = 60 * time.Second
)

// benchAgent measures the memory of an agent that sends to a receiver which
// throws everything away.
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var received atomic.Int64
	sink := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		received.Add(n)
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = sink.Serve(listener) }()
	defer sink.Close()
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	agent, err := launch("http://"+addr+"/-/ready", "build/binnacle", "agent", "--listen", addr, "--data-dir", dir,
		"--interval", "1s", "--server", fmt.Sprintf("http://%s/api/v1/write", listener.Addr()), "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	defer agent.close()
	time.Sleep(agentTime)
	if received.Load() == 0 {
		return nil, errors.New("the agent sent nothing")
	}
	const bar = 80
	rss, peak := agent.memory("VmRSS")/1e6, agent.memory("VmHWM")/1e6
	return []result{{
		Name: fmt.Sprintf("agent, %d containers each second, resident", agentGroups), Unit: "MB", Ours: rss,
		Reference: peak, ReferenceName: "its own peak", Ratio: rss / bar, Bar: 1, OK: rss <= bar,
	}}, nil
}
