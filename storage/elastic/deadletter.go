package elastic

import (
	"context"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"
)

// letter is a record that the index does not take, by its place in the batch.
type letter struct {
	index   int
	failure failure
}

// sendLetters stores what the index refused among the dead letters:
//
//	{"@timestamp":"…","error":{"type":"…","message":"…"},"event":{"original":"…"}}
//
// Its _id is the record's. What fails here too is tried again with its batch,
// or refused.
func (w *write) sendLetters(ctx context.Context) {
	if len(w.letters) == 0 {
		return
	}
	s := w.store
	b := s.bulks.get()
	defer s.bulks.put(b)
	now := time.Now().UnixNano()
	for _, l := range w.letters {
		b.text = w.appendLetter(b.text, &b.encoder, l, now)
		if len(b.text) >= flushAt {
			b.compress()
		}
	}
	answer, err := s.postBulk(ctx, w.state, s.targets[1], b)
	var failures []failure
	if err == nil {
		failures, err = parseBulk(answer, len(w.letters))
	}
	if err != nil {
		for _, l := range w.letters {
			w.letterFailed(l, err, statusOf(err))
		}
		return
	}
	for n, l := range w.letters {
		if len(failures) > 0 && failures[0].item == n {
			f := failures[0]
			failures = failures[1:]
			if f.status != http.StatusConflict {
				w.letterFailed(l, f, f.status)
				continue
			}
		}
		reason, _ := reasonOf(l.failure.status)
		s.metrics.deadLetters.WithLabelValues(reason).Inc()
		s.logLetter(l.failure)
	}
}

func (w *write) appendLetter(dst []byte, e *encoder, l letter, now int64) []byte {
	r := &w.batch[l.index]
	line := *r
	line.Line = truncated(r.Line, maxLetter)
	e.stream, e.form = r.Stream, e.forms.of(r.Stream)
	// The source is part of the excerpt, for a record without one its hash.
	document := e.appendDocument(nil, appendSource(nil, r), &line)
	dst = append(dst, `{"create":{"_id":"`...)
	dst = append(dst, documentID(r)...)
	dst = append(dst, "\"}}\n"+`{"@timestamp":"`...)
	dst = e.appendTime(dst, now)
	dst = append(dst, `","error":{"type":"`...)
	dst = appendEscaped(dst, []byte(l.failure.kind))
	dst = append(dst, `","message":"`...)
	dst = appendEscaped(dst, []byte(l.failure.reason))
	dst = append(dst, `"},"event":{"original":"`...)
	dst = appendEscaped(dst, truncated(document, maxLetter))
	return append(dst, "\"}}\n"...)
}

// truncated cuts text to n bytes, between two characters.
func truncated(text []byte, n int) []byte {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

func (w *write) letterFailed(l letter, err error, status int) {
	reason, _ := reasonOf(status)
	switch reason {
	case reasonMapping, reasonTooLarge:
		was, _ := reasonOf(l.failure.status)
		w.refuse(was, errors.Join(l.failure, err))
	default:
		w.retry(l.index, reason, err)
	}
}

// logLetter tells of dead letters, at most once in a while.
func (s *Store) logLetter(f failure) {
	now := time.Now().UnixNano()
	last := s.lastLetterLog.Load()
	if now-last > int64(time.Minute) && s.lastLetterLog.CompareAndSwap(last, now) {
		s.options.Logger.Warn("elasticsearch does not take a record, it is kept as a dead letter",
			"index", s.targets[1].index, "type", f.kind, "err", f.reason)
	}
}
