package loki

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage/otlp"
)

// ownAgent is how the User-Agent of binnacle's own agents begins. They keep
// their records in files and are told that the store is full; of other
// senders the specification of OTLP/HTTP lets 507 mean that they drop them.
const ownAgent = "binnacle"

// serveOTLP stores the records of an OTLP request, as
// https://opentelemetry.io/docs/specs/otlp/#otlphttp says: what is refused for
// good is told in an answer with status 200, and senders come back after 429
// and 503.
func (h *Handler) serveOTLP(w http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	answer := otlpAnswer{w: w, json: media == "application/json"}
	if media != protobufType && !answer.json {
		answer.fail(http.StatusUnsupportedMediaType, "Content-Type must be "+protobufType+" or application/json")
		return
	}
	body, err := readBody(r, h.opts.MaxBodyBytes)
	if err != nil {
		answer.fail(h.bodyStatus(err), err.Error())
		return
	}
	decode := otlp.Decode
	if answer.json {
		decode = otlp.DecodeJSON
	}
	batch, err := decode(body, otlp.DecodeOptions{MaxRecords: h.opts.MaxEntriesPerPush, Now: h.now().UnixNano(), Streams: h.resources})
	if err != nil {
		answer.fail(h.bodyStatus(err), err.Error())
		return
	}
	h.metrics.changed.WithLabelValues(changeReplaced).Add(float64(batch.Replaced))
	h.metrics.changed.WithLabelValues(changeTruncated).Add(float64(batch.Truncated))
	res := h.store(r.Context(), protocolOTLP, batch.Records)
	if res.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	switch {
	case res.full && strings.HasPrefix(r.UserAgent(), ownAgent):
		answer.fail(http.StatusInsufficientStorage, res.text)
	case res.code != 0:
		answer.fail(res.code, res.text)
	default:
		answer.ok(res.refused, res.refusal)
	}
}

// otlpAnswer writes answers in the encoding of the request.
type otlpAnswer struct {
	w    http.ResponseWriter
	json bool
}

// statusMessage is the number of the field message of google.rpc.Status.
const statusMessage = 2

// ok says that all but rejected records are stored.
func (a otlpAnswer) ok(rejected int, message string) {
	var body []byte
	switch {
	case a.json && rejected == 0:
		body = []byte("{}")
	case a.json:
		body = []byte(`{"partialSuccess":{"rejectedLogRecords":"` + strconv.Itoa(rejected) + `","errorMessage":`)
		body = append(appendString(body, message), "}}"...)
	default:
		body = otlp.AppendResponse(nil, rejected, strings.ToValidUTF8(message, "\ufffd"))
	}
	a.write(http.StatusOK, body)
}

// fail says that nothing, or not all, is stored.
func (a otlpAnswer) fail(code int, message string) {
	var body []byte
	if a.json {
		body, _ = json.Marshal(map[string]string{"message": message}) // cannot fail: a string
	} else {
		body = protowire.AppendTag(body, statusMessage, protowire.BytesType)
		body = protowire.AppendString(body, strings.ToValidUTF8(message, "\ufffd"))
	}
	a.write(code, body)
}

func (a otlpAnswer) write(code int, body []byte) {
	contentType := protobufType
	if a.json {
		contentType = "application/json"
	}
	a.w.Header().Set("Content-Type", contentType)
	a.w.WriteHeader(code)
	_, _ = a.w.Write(body) // a client that is gone does not need the answer
}
