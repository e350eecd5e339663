package otlp

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxJSONDepth is above what maxDepth of the values needs, each level of
	// which is three in JSON.
	maxJSONDepth = 3*maxDepth + 16
	// maxJSONObjects bounds the memory that a body of empty objects can ask for.
	maxJSONObjects = 1 << 20
)

// DecodeJSON is Decode for a request in JSON. The records do not point into
// body.
func DecodeJSON(body []byte, o DecodeOptions) (Batch, error) {
	if err := checkJSON(body); err != nil {
		return Batch{}, fmt.Errorf("not a request of OTLP logs in JSON: %w", err)
	}
	logs, err := new(plog.JSONUnmarshaler).UnmarshalLogs(body)
	if err != nil {
		return Batch{}, fmt.Errorf("not a request of OTLP logs in JSON: %w", err)
	}
	message, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
	if err != nil {
		return Batch{}, fmt.Errorf("OTLP logs in JSON: %w", err)
	}
	return Decode(message, o)
}

// checkJSON refuses what would take too much memory or stack to decode; that
// it is right JSON is left to the decoder.
func checkJSON(body []byte) error {
	depth, objects, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			objects++
			if depth++; depth > maxJSONDepth {
				return errDepth
			}
			if objects > maxJSONObjects {
				return fmt.Errorf("more than %d objects, send fewer records at a time: %w", maxJSONObjects, storage.ErrTooLarge)
			}
		case c == '}' || c == ']':
			if depth--; depth < 0 {
				return errors.New("a bracket is closed that was not opened")
			}
		}
	}
	return nil
}
