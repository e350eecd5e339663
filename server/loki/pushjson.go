package loki

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

// pushRequest is the body of a push request in JSON.
type pushRequest struct {
	Streams []struct {
		Stream map[string]string `json:"stream"`
		Values []json.RawMessage `json:"values"`
	} `json:"streams"`
}

// decodeJSON adds the entries of a push request in JSON to batch.
func decodeJSON(body []byte, batch *pushBatch) error {
	var request pushRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return badRequest("cannot decode the body: %s", explainJSON(body, err))
	}
	// What is missing is said: other forms of the body, such as that of Loki's
	// deprecated path, would seem to be stored.
	if request.Streams == nil {
		return badRequest(`the body has no "streams"`)
	}
	batch.broken = !utf8.Valid(body)
	n := 0
	for i := range request.Streams {
		n += len(request.Streams[i].Values)
	}
	if n > batch.h.opts.MaxEntriesPerPush {
		return &tooManyError{batch.h.opts.MaxEntriesPerPush}
	}
	for i, s := range request.Streams {
		if s.Values == nil {
			return badRequest(`streams[%d] has no "values"`, i)
		}
		if len(s.Values) == 0 {
			continue
		}
		if err := checkMap(s.Stream); err != nil {
			return badRequest("streams[%d].stream: %v", i, err)
		}
		stream := batch.stream(labels.FromMap(s.Stream), len(s.Values))
		for j, value := range s.Values {
			ns, line, metadata, err := decodeValue(value)
			if err != nil {
				return badRequest("streams[%d].values[%d]: %v", i, j, err)
			}
			if stream != nil {
				batch.add(stream, ns, []byte(line), metadata)
			}
		}
	}
	return nil
}

// maxLabelBytes is below what labels.Labels can hold of a name or value; it
// panics beyond 16 MiB.
const maxLabelBytes = 1 << 20

func checkMap(m map[string]string) error {
	for name, value := range m {
		if len(name) > maxLabelBytes || len(value) > maxLabelBytes {
			return errors.New("a label is longer than 1 MiB")
		}
	}
	return nil
}

// decodeValue reads an entry: ["<ns>", "<line>", {"name": "value"}], the last
// element being optional.
func decodeValue(value []byte) (ns int64, line string, metadata []labels.Label, err error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(value, &parts); err != nil || len(parts) < 2 || len(parts) > 3 {
		return 0, "", nil, errors.New(`an array of a time in nanoseconds, a line and optionally an object of metadata is needed, as in ["1767323045000000000", "text"]`)
	}
	var at string
	if json.Unmarshal(parts[0], &at) != nil {
		return 0, "", nil, errors.New("the time must be a string of nanoseconds since the Unix epoch")
	}
	if ns, err = strconv.ParseInt(at, 10, 64); err != nil {
		return 0, "", nil, errors.New("the time must be a string of nanoseconds since the Unix epoch, not " + strconv.QuoteToASCII(at[:min(len(at), 50)]))
	}
	if bytes.Equal(parts[1], []byte("null")) || json.Unmarshal(parts[1], &line) != nil {
		return 0, "", nil, errors.New("the line must be a string")
	}
	if len(parts) == 2 {
		return ns, line, nil, nil
	}
	var pairs map[string]string
	if json.Unmarshal(parts[2], &pairs) != nil {
		return 0, "", nil, errors.New("metadata must be an object whose values are strings")
	}
	if err := checkMap(pairs); err != nil {
		return 0, "", nil, err
	}
	for name, v := range pairs {
		metadata = append(metadata, labels.Label{Name: name, Value: v})
	}
	return ns, line, metadata, nil
}

// explainJSON tells where an error of encoding/json is.
func explainJSON(body []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input":
		return "the JSON text is cut off after " + strconv.Itoa(len(body)) + " bytes"
	case errors.As(err, &syntax):
		return "byte " + strconv.FormatInt(syntax.Offset, 10) + ": " + syntax.Error()
	case errors.As(err, &kind):
		return "byte " + strconv.FormatInt(kind.Offset, 10) + ": " + kind.Error()
	}
	return err.Error()
}
