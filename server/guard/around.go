package guard

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// maxFormBytes bounds the form of a query. The longest queries of generated
// dashboards are some 100 KB.
const maxFormBytes = 4 << 20

// Form reads the parameters of a request under a limit before h sees it; what
// cannot be read is answered by fail. Without it, net/http takes a form that
// it cannot read for an empty one.
func (m *Metrics) Form(fail func(w http.ResponseWriter, code int, message string), h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		err := r.ParseForm()
		if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && strings.HasPrefix(media, "multipart/") {
			err = r.ParseMultipartForm(maxFormBytes)
		}
		var tooLarge *http.MaxBytesError
		switch {
		case err == nil:
			h(w, r)
		case errors.As(err, &tooLarge):
			m.Rejected(ReasonTooLarge)
			fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the form is larger than %d bytes", maxFormBytes))
		default:
			m.Rejected(ReasonBadForm)
			fail(w, http.StatusBadRequest, fmt.Sprintf("cannot read the parameters: %v", err))
		}
	}
}

// Gated lets h work while it has a slot of g. fail answers a request that gets
// none.
func (m *Metrics) Gated(g *Gate, fail func(w http.ResponseWriter, err error), h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := g.Enter(r.Context()); err != nil {
			if errors.Is(err, ErrBusy) { // and not a client that went away
				m.Rejected(ReasonBusy)
			}
			fail(w, err)
			return
		}
		defer g.Leave()
		h(w, r)
	}
}
