package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/binnacle-obs/binnacle/server/api"
	"github.com/binnacle-obs/binnacle/server/loki"
)

const replayPath = api.Prefix + "/status/walreplay"

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	// GET covers HEAD.
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "binnacle server is healthy.")
	})
	mux.HandleFunc("GET /-/ready", s.serveReady)
	mux.HandleFunc("POST /-/reload", s.serveReload)
	mux.HandleFunc("PUT /-/reload", s.serveReload)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{
		// One broken collector must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
		Registry:            s.opts.Registry,
	}))
	mux.HandleFunc("GET "+replayPath, s.serveReplay)
	mux.HandleFunc(api.Prefix+"/", s.serveAPI)
	mux.HandleFunc("/federate", s.serveAPI)
	mux.HandleFunc(loki.Prefix+"/", s.serveLogs)
	mux.HandleFunc("/otlp/", s.serveLogs)
	return mux
}

// serveAPI answers once the store is open.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	if answers := s.api.Load(); answers != nil && s.requests.serve(answers, w, r) {
		return
	}
	w.Header().Set("Retry-After", "5")
	s.writeJSON(w, http.StatusServiceUnavailable, map[string]any{
		"status": "error", "errorType": "unavailable", "error": s.notReady(),
	})
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if s.api.Load() == nil {
		http.Error(w, s.notReady(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "binnacle server is ready.")
}

// notReady says why the API does not answer.
func (s *Server) notReady() string {
	select {
	case <-s.opened:
		return "The server is stopping."
	default:
	}
	state := s.db.State()
	if state.ReplaySegments > 0 && state.ReplayedSegments < state.ReplaySegments {
		return fmt.Sprintf("The server is starting: %d of %d segments of the log are read.", state.ReplayedSegments, state.ReplaySegments)
	}
	return "The server is starting."
}

// serveReplay tells the progress of the start, which upstream's handler can
// only tell when it is over.
func (s *Server) serveReplay(w http.ResponseWriter, _ *http.Request) {
	status, err := s.db.Admin().WALReplayStatus()
	if err != nil {
		s.writeJSON(w, http.StatusInternalServerError, map[string]any{
			"status": "error", "errorType": "internal", "error": err.Error(),
		})
		return
	}
	s.writeJSON(w, http.StatusOK, map[string]any{"status": "success", "data": map[string]int{
		"min": status.Min, "max": status.Max, "current": status.Current,
	}})
}

func (s *Server) serveReload(w http.ResponseWriter, _ *http.Request) {
	if !s.opts.EnableReloadAPI {
		http.Error(w, "Reloading over HTTP is not enabled; send SIGHUP to the process.", http.StatusForbidden)
		return
	}
	if err := s.Reload(); err != nil {
		http.Error(w, "The configuration in force was kept: "+strings.TrimSpace(err.Error()), http.StatusInternalServerError)
	}
}

func (s *Server) writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, errors.Join(errors.New("encode the answer"), err).Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that is gone does not need the answer.
	_, _ = w.Write(body)
}
