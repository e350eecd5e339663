package api

import (
	"encoding/json"
	"net/http"
)

// Error types of the API, upstream's words.
const (
	typeBadData     = "bad_data"
	typeInternal    = "internal"
	typeUnavailable = "unavailable"
)

// writeError answers in the API's error format.
func writeError(w http.ResponseWriter, code int, errorType, message string) {
	body, err := json.Marshal(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", errorType, message})
	if err != nil { // cannot happen: three strings
		http.Error(w, message, code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// A client that is gone does not need the answer.
	_, _ = w.Write(body)
}

// writeInternal answers after a programming error.
func writeInternal(w http.ResponseWriter, code int, message string) {
	writeError(w, code, typeInternal, message)
}
