package loki

import (
	"errors"
	"mime"
	"net/http"

	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/storage"
)

// Values of the label `protocol` of metrics.
const (
	protocolLoki = "loki"
	protocolOTLP = "otlp"
)

const protobufType = "application/x-protobuf"

// servePush stores the entries of a push request. What is right is stored even
// where the answer says that something is not, as in Loki.
func (h *Handler) servePush(w http.ResponseWriter, r *http.Request) {
	batch := h.newPushBatch()
	if err := h.decodePush(r, batch); err != nil {
		h.refuseBody(w, err)
		return
	}
	for reason, n := range batch.refused {
		h.metrics.rejected.WithLabelValues(reason).Add(float64(n))
	}
	h.metrics.changed.WithLabelValues(changeReplaced).Add(float64(batch.replaced))
	res := h.store(r.Context(), protocolLoki, batch.records)
	switch {
	case res.code != 0:
		h.notStored(w, res)
	case batch.first != "":
		writeError(w, http.StatusBadRequest, batch.refusal())
	case res.refusal != "":
		writeError(w, http.StatusBadRequest, res.refusal)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h *Handler) decodePush(r *http.Request, batch *pushBatch) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return badRequest("cannot read the Content-Type: %v", err)
	}
	body, err := readBody(r, h.opts.MaxBodyBytes)
	if err != nil {
		return err
	}
	switch media {
	case "application/json":
		return decodeJSON(body, batch)
	case "", protobufType:
		// The block of snappy belongs to this form of the body; senders do not
		// name it as its encoding.
		if r.Header.Get("Content-Encoding") == "" {
			if body, err = unsnap(body, h.opts.MaxBodyBytes); err != nil {
				return err
			}
		}
		return decodeProto(body, batch)
	}
	return badRequest("Content-Type %q is not supported; application/json and %s are", media, protobufType)
}

// refuseBody answers a body that was not decoded.
func (h *Handler) refuseBody(w http.ResponseWriter, err error) {
	writeError(w, h.bodyStatus(err), err.Error())
}

// bodyStatus counts a body that was not decoded, and returns its status.
func (h *Handler) bodyStatus(err error) int {
	var tooLarge *bodyTooLargeError
	var tooMany *tooManyError
	var encoding *encodingError
	switch {
	case errors.As(err, &tooLarge), errors.As(err, &tooMany), errors.Is(err, storage.ErrTooLarge):
		h.opts.Endpoints.Rejected(guard.ReasonTooLarge)
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &encoding):
		h.opts.Endpoints.Rejected(guard.ReasonBadForm)
		return http.StatusUnsupportedMediaType
	}
	h.opts.Endpoints.Rejected(guard.ReasonBadForm)
	return http.StatusBadRequest
}
