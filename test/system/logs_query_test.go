//go:build system

package system

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/binnacle-obs/binnacle/test/ledger"
)

// entry is one line of an answer in the form of docs/logs-api.md.
type entry struct {
	NS       string            `json:"ns"`
	Stream   json.RawMessage   `json:"labels"`
	Metadata map[string]string `json:"metadata"`
	Line     *string           `json:"line"`
	ID       string            `json:"id"`
	Flags    []string          `json:"flags"`
	Progress *struct {
		Dropped int64 `json:"dropped"`
	} `json:"progress"`
	End *answerEnd `json:"end"`
}

// answerEnd is the last line of an answer.
type answerEnd struct {
	Entries  int      `json:"entries"`
	More     bool     `json:"more"`
	Warnings []string `json:"warnings"`
	Error    string   `json:"error"`
}

// found is a record with its labels decoded.
type found struct {
	entry
	labels map[string]string
	time   int64
}

// logLines asks for lines and calls each for every entry. The error is also
// set for an answer that was cut off.
func logLines(ctx context.Context, addr, path string, params url.Values, each func(found) error) (*answerEnd, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path+"?"+params.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4000))
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	reader, labels := bufio.NewReaderSize(resp.Body, 1<<20), map[string]map[string]string{}
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the answer was cut off: %w", err)
		}
		f := found{}
		if err := json.Unmarshal(line, &f.entry); err != nil {
			return nil, fmt.Errorf("%w in %.200q", err, line)
		}
		switch {
		case f.End != nil:
			return f.End, nil
		case f.Progress != nil && f.Progress.Dropped > 0:
			return nil, fmt.Errorf("%d entries were left out", f.Progress.Dropped)
		case f.Line == nil:
			continue
		}
		if f.labels = labels[string(f.Stream)]; f.labels == nil {
			if err := json.Unmarshal(f.Stream, &f.labels); err != nil {
				return nil, err
			}
			labels[string(f.Stream)] = f.labels
		}
		if f.time, err = strconv.ParseInt(f.NS, 10, 64); err != nil {
			return nil, err
		}
		if err := each(f); err != nil {
			return nil, err
		}
	}
}

// all are the parameters of everything that these tests wrote.
func all() url.Values {
	return url.Values{
		"query": {`{cluster="` + cluster + `"}`}, "direction": {"forward"},
		"start": {until(time.Now().Add(-time.Hour))}, "end": {until(time.Now().Add(time.Minute))},
	}
}

// count is how many records a server has of these tests; 0 while it does not
// answer.
func count(addr string) int {
	var data struct{ Result []series }
	err := get(addr, "/loki/api/v1/query", url.Values{
		"query": {`sum(count_over_time({cluster="` + cluster + `"}[2h]))`}, "time": {until(time.Now().Add(time.Minute))},
	}, &data)
	if err != nil || len(data.Result) != 1 {
		return 0
	}
	return int(data.Result[0].Value.number())
}

// settle waits until a number has reached want, or has not grown for a while:
// what is missing then is for the ledger to tell.
func settle(t testing.TB, want int, now func() int) {
	t.Helper()
	const patience = 30 * time.Second
	best, since := now(), time.Now()
	for best < want {
		if time.Since(since) > patience {
			t.Errorf("%d of %d records, no further one for %v", best, want, patience)
			return
		}
		time.Sleep(100 * time.Millisecond)
		if n := now(); n > best {
			best, since = n, time.Now()
		}
	}
	// Those stored twice come late.
	time.Sleep(500 * time.Millisecond)
}

// check waits for all entries of a fleet in a server and compares every one.
func (f *fleet) check(t testing.TB, addr string) {
	t.Helper()
	settle(t, f.entries(), func() int { return count(addr) })
	checker, ids := ledger.NewChecker(f.accounts()), map[string]bool{}
	end, err := logLines(context.Background(), addr, "/loki/api/v1/query_range", all(), func(r found) error {
		checker.Add(ledger.Record{Time: r.time, Line: []byte(*r.Line), Labels: r.labels})
		if r.ID == "" || ids[r.ID] {
			return fmt.Errorf("the id %q of a record is empty or that of another: %.200s", r.ID, *r.Line)
		}
		ids[r.ID] = true
		return nil
	})
	if err == nil && (end.Error != "" || len(end.Warnings) > 0 || end.More) {
		err = fmt.Errorf("the answer is not all: %+v", *end)
	}
	report := checker.Report()
	t.Logf("%d records of %d entries", report.Records, report.Expected)
	if err := errors.Join(err, report.Err()); err != nil {
		t.Error(err)
	}
}
