package endpoint

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRetryAfter(t *testing.T) {
	now := time.Unix(1000, 0)
	for text, want := range map[string]time.Duration{
		"":                    0,
		"7":                   7 * time.Second,
		"-7":                  0,
		"soon":                0,
		"99999999999":         MaxRetryAfter,
		"9223372036854775807": MaxRetryAfter,
		time.Unix(1030, 0).UTC().Format(http.TimeFormat): 30 * time.Second,
		time.Unix(900, 0).UTC().Format(http.TimeFormat):  0,
	} {
		require.Equal(t, want, retryAfter(text, now), text)
	}
}
