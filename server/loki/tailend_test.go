package loki

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

func TestTailEndsCleanly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv, stop := tailServer(t, f)
	conn := dial(t, srv, tailPath("{}"), nil)
	awaitTails(t, f, 1)
	stop(errors.New("the server is stopping"))
	_, _, err := conn.Read(context.Background())
	var closed websocket.CloseError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, websocket.StatusGoingAway, closed.Code)
	require.Equal(t, "the server is stopping", closed.Reason)
	awaitTails(t, f, 0)
}

func TestStopTails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv, _ := tailServer(t, f)
	conn := dial(t, srv, tailPath("{}"), nil)
	awaitTails(t, f, 1)
	f.StopTails(errors.New("the server is stopping"))
	_, _, err := conn.Read(context.Background())
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
	rec := f.do(http.MethodGet, tailPath("{}"), "", linesHeader)
	require.Contains(t, rec.Body.String(), `"warnings":["the server is stopping"],"error":""`)
	require.Equal(t, http.StatusOK, f.do(http.MethodGet, Prefix+"/labels", "").Code, "other requests go on")
}

// TestClientThatTakesNothingIsGivenUp fills the connection of a client that
// does not read.
func TestClientThatTakesNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"socket", "follow", "lines"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			f.stall = 50 * time.Millisecond
			f.write(t, 20, func(int) string { return strings.Repeat("x", 1<<20) })
			done := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				f.ServeHTTP(w, r)
			}))
			defer srv.Close()
			path := tailPath("{}", "start=1")
			if form == "lines" {
				path = rangePath("{}")
			}
			var d net.Dialer
			conn, err := d.DialContext(context.Background(), "tcp", srv.Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			header := "Accept: " + linesType + "\r\n"
			if form == "socket" {
				header = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			}
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, header)
			require.NoError(t, err)
			select {
			case <-done:
			case <-time.After(time.Minute):
				require.Fail(t, "the request goes on")
			}
		})
	}
}

func TestTailEndsWithItsClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv, _ := tailServer(t, f)
	conn := dial(t, srv, tailPath("{}"), nil)
	awaitTails(t, f, 1)
	require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
	awaitTails(t, f, 0)
	conn = dial(t, srv, tailPath("{}"), nil)
	awaitTails(t, f, 1)
	require.NoError(t, conn.CloseNow())
	awaitTails(t, f, 0)
}

func TestTailEndsWithItsError(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fake.fail = errors.New("disk on fire " + strings.Repeat("é", 100))
	f.write(t, 1, numbered)
	srv, _ := tailServer(t, f)
	_, _, err := dial(t, srv, tailPath("{}", "start=1"), nil).Read(context.Background())
	var closed websocket.CloseError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, websocket.StatusInternalError, closed.Code)
	require.True(t, strings.HasPrefix(closed.Reason, "disk on fire é"))
}
