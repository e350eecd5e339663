package remote

import (
	"context"
	"net/http"
	"strconv"
	"time"

	upstream "github.com/prometheus/prometheus/storage/remote"

	"github.com/binnacle-obs/binnacle/storage/endpoint"
)

const (
	contentTypeV1 = "application/x-protobuf"
	contentTypeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// Endpoint is one receiver of remote write. Its URL is complete, such as
// https://server:7070/api/v1/write.
type Endpoint = endpoint.Options

// client sends request bodies to one receiver.
type client struct {
	*endpoint.Client
	name string // in metrics
}

// reply is the answer of a receiver.
type reply struct {
	status     int
	retryAfter time.Duration
	// written is what the receiver says it stored; it is confirmed if at least
	// one of the response headers of version 2.0 was there.
	written upstream.WriteResponseStats
	excerpt string
	target  string // of a redirection
}

// newClient checks the endpoint. Its errors hold no secrets.
func newClient(e Endpoint) (*client, error) {
	c, err := endpoint.New(e, "https://server:7070/api/v1/write")
	if err != nil {
		return nil, err
	}
	return &client{c, c.Name()}, nil
}

// post sends one body. The error is that of the network or of reading the
// credentials; every HTTP answer is a reply.
func (c *client) post(ctx context.Context, body []byte, v2 bool, attempt int) (reply, error) {
	header := map[string]string{"Content-Encoding": "snappy"}
	if v2 {
		header["Content-Type"] = contentTypeV2
		header[upstream.RemoteWriteVersionHeader] = upstream.RemoteWriteVersion20HeaderValue
	} else {
		header["Content-Type"] = contentTypeV1
		header[upstream.RemoteWriteVersionHeader] = upstream.RemoteWriteVersion1HeaderValue
	}
	if attempt > 0 {
		header["Retry-Attempt"] = strconv.Itoa(attempt)
	}
	got, err := c.Post(ctx, body, header)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: got.Status, retryAfter: got.RetryAfter, excerpt: got.Excerpt(), target: got.Target}
	// A header that is not a number counts as 0, like one that is missing.
	r.written, _ = upstream.ParseWriteResponseStats(&http.Response{StatusCode: got.Status, Header: got.Header})
	return r, nil
}
