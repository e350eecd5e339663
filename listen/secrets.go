package listen

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFile bounds the files read; bundles of authorities are the largest.
	maxFile = 4 << 20
	// maxTokens bounds the work of one comparison.
	maxTokens = 1024
	// handshakeCheck is how long a check of the files made by one handshake
	// serves the others.
	handshakeCheck = time.Second
)

// secrets are the contents of the files, as last read without error.
type secrets struct {
	certificate atomic.Pointer[tls.Certificate]
	clientCA    atomic.Pointer[x509.CertPool]
	tokens      atomic.Pointer[[][sha256.Size]byte]

	log     *slog.Logger
	metrics *metrics

	mu      sync.Mutex
	sources []*source
	checked time.Time
}

// source is one or two files that only make sense together.
type source struct {
	name  string // label of the metric of reload errors
	files []string
	flags []string // that named the files
	use   func(contents [][]byte) error

	digest [sha256.Size]byte // of what is in use
	failed string            // the last error, not to be logged again
}

// openSecrets reads all files for the first time.
func openSecrets(o Options, m *metrics) (*secrets, error) {
	s := &secrets{log: o.Logger, metrics: m}
	if o.tls() {
		s.sources = append(s.sources, &source{
			name: "certificate", files: []string{o.CertFile, o.KeyFile}, flags: []string{flagCert, flagKey}, use: s.useCertificate,
		})
	}
	if o.ClientCAFile != "" {
		s.sources = append(s.sources, &source{name: "client_ca", files: []string{o.ClientCAFile}, flags: []string{flagClientCA}, use: s.useClientCA})
	}
	if o.TokenFile != "" {
		s.sources = append(s.sources, &source{name: "token", files: []string{o.TokenFile}, flags: []string{flagToken}, use: s.useTokens})
	}
	for _, src := range s.sources {
		if _, err := src.load(); err != nil {
			return nil, err
		}
		m.reloadErrors.WithLabelValues(src.name) // 0 rather than absent
	}
	return s, nil
}

// checkSoon checks unless that was done just now: connections come in crowds.
func (s *secrets) checkSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) >= handshakeCheck {
		s.checkLocked()
	}
}

// check takes over files that have changed. Contents count, not times: they
// are small, and symlinks that are swapped need no special care.
func (s *secrets) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkLocked()
}

func (s *secrets) checkLocked() {
	s.checked = time.Now()
	for _, src := range s.sources {
		changed, err := src.load()
		if err != nil {
			s.metrics.reloadErrors.WithLabelValues(src.name).Inc()
			if err.Error() != src.failed {
				s.log.Error("a changed file cannot be used, the old one stays in force", "err", err)
				src.failed = err.Error()
			}
			continue
		}
		src.failed = ""
		if changed {
			s.log.Info("file reloaded", "files", src.files)
		}
	}
}

// load reads the files and uses them if they are not those in use.
func (src *source) load() (changed bool, err error) {
	contents, sum := make([][]byte, len(src.files)), sha256.New()
	for i, file := range src.files {
		b, err := readFile(file)
		if err != nil {
			return false, fmt.Errorf("%s: %w", src.flags[i], err)
		}
		contents[i] = b
		fmt.Fprintf(sum, "%d\n%s", len(b), b)
	}
	digest := [sha256.Size]byte(sum.Sum(nil))
	if digest == src.digest {
		return false, nil
	}
	if err := src.use(contents); err != nil {
		return false, fmt.Errorf("%s %s: %w", strings.Join(src.flags, ", "), strings.Join(src.files, ", "), err)
	}
	src.digest = digest
	return true, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return b, err
}

func (s *secrets) useCertificate(contents [][]byte) error {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return err
	}
	s.certificate.Store(&pair)
	return nil
}

func (s *secrets) useClientCA(contents [][]byte) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(contents[0]) {
		return errors.New("holds no certificate in PEM form")
	}
	s.clientCA.Store(pool)
	return nil
}

func (s *secrets) useTokens(contents [][]byte) error {
	tokens, err := parseTokens(contents[0])
	if err != nil {
		return err
	}
	s.tokens.Store(&tokens)
	return nil
}

// parseTokens reads a token file. Only digests are kept: they have one length,
// so that comparing them takes one time, and cannot end up in a log. Errors
// name lines, not what is on them.
func parseTokens(text []byte) ([][sha256.Size]byte, error) {
	var tokens [][sha256.Size]byte
	for i, line := range bytes.Split(text, []byte("\n")) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		if _, after, named := bytes.Cut(line, []byte(":")); named {
			line = after
		}
		token := bytes.TrimSpace(line)
		switch {
		case len(token) == 0:
			continue
		case bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("line %d: a token has no blanks and only ASCII characters", i+1)
		case len(tokens) == maxTokens:
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
		tokens = append(tokens, sha256.Sum256(token))
	}
	if len(tokens) == 0 {
		return nil, errors.New("holds no token: write one on a line of its own")
	}
	return tokens, nil
}

// hasToken compares with every token, in a time that does not depend on which
// matches, or how much of it.
func (s *secrets) hasToken(token string) bool {
	digest, found := sha256.Sum256([]byte(token)), 0
	for _, t := range *s.tokens.Load() {
		found |= subtle.ConstantTimeCompare(digest[:], t[:])
	}
	return found == 1
}
