package guard

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Response remembers whether and how an answer has begun.
type Response struct {
	http.ResponseWriter
	// Correct may be nil. It may change the status, set headers, and put text in
	// front of the body, before they are sent.
	Correct func(header http.Header, code int) (newCode int, prefix string)
	code    int
}

// NewResponse returns an answer that has not begun.
func NewResponse(w http.ResponseWriter) *Response { return &Response{ResponseWriter: w} }

// Begun tells whether the status line is sent.
func (r *Response) Begun() bool { return r.code != 0 }

// Code is the status that was sent, or 200, which is what net/http sends for a
// handler that sends none.
func (r *Response) Code() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// WriteHeader sends the status line.
func (r *Response) WriteHeader(code int) {
	if r.Begun() || code < http.StatusOK && code != http.StatusSwitchingProtocols {
		r.ResponseWriter.WriteHeader(code)
		return
	}
	prefix := ""
	if r.Correct != nil {
		code, prefix = r.Correct(r.Header(), code)
	}
	r.code = code
	r.ResponseWriter.WriteHeader(code)
	if prefix != "" {
		// A client that is gone does not need the answer.
		_, _ = io.WriteString(r.ResponseWriter, prefix)
	}
}

// Write sends a part of the body.
func (r *Response) Write(p []byte) (int, error) {
	if !r.Begun() {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(p)
}

// Flush is needed by streamed answers.
func (r *Response) Flush() {
	if !r.Begun() {
		r.WriteHeader(http.StatusOK)
	}
	// What cannot be flushed is sent later.
	_ = http.NewResponseController(r.ResponseWriter).Flush()
}

// Hijack takes the connection over, for a WebSocket.
func (r *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (r *Response) Unwrap() http.ResponseWriter { return r.ResponseWriter }
