package redact

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/test/corpus"
)

func newRedactor(t testing.TB, o Options) *Redactor {
	r, err := New(o)
	require.NoError(t, err)
	return r
}

// edit runs lines as one stream from an offset on.
func edit(r *Redactor, source byte, offset int64, lines ...string) (out []string) {
	for _, line := range lines {
		record := storage.Record{Source: storage.SourceID{source}, Offset: offset, Line: []byte(line)}
		r.Edit(&record)
		out = append(out, string(record.Line))
		if (record.Flags == storage.FlagRedacted) != (string(record.Line) != line) {
			out = append(out, "the flag is wrong")
		}
		offset += int64(len(line)) + 1
	}
	return out
}

func (r *Redactor) counted() map[string]int64 {
	counted := map[string]int64{}
	for _, c := range r.Counts() {
		if c.N > 0 {
			counted[c.Rule] = c.N
		}
	}
	return counted
}

const (
	hex40 = "0123456789abcdef0123456789ABCDEF01234567"
	token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
)

func TestBuiltinRules(t *testing.T) {
	for _, test := range []struct{ rule, line, want string }{
		{"bearer-token", "Authorization: Bearer abcdefghij1234567890== end", "Authorization: Bearer [REDACTED] end"},
		{"bearer-token", `{"auth":"bEARER ` + hex40 + `"}`, `{"auth":"bEARER [REDACTED]"}`},
		{"basic-auth", "authorization: Basic am9lOmh1bnRlcjI=", "authorization: Basic [REDACTED]"},
		{"basic-auth", `"Authorization": "Basic am9lOmh1bnRlcjI="`, `"Authorization": "Basic [REDACTED]"`},
		{"aws-access-key-id", "key AKIAIOSFODNN7EXAMPLE.", "key [REDACTED]."},
		{"aws-secret-access-key", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = [REDACTED]"},
		{"aws-secret-access-key", `{"SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}`, `{"SecretAccessKey":"[REDACTED]"}`},
		{"url-password", "dial postgres://joe:hunter2@db:5432/shop failed", "dial postgres://joe:[REDACTED]@db:5432/shop failed"},
		{"url-password", "redis://:p@ss:w@cache/0 http://x:y@z", "redis://:[REDACTED]@cache/0 http://x:[REDACTED]@z"},
		{"github-token", "push with ghp_" + hex40, "push with [REDACTED]"},
		{"github-token", "github_pat_" + hex40 + "_" + hex40, "[REDACTED]"},
		{"gitlab-token", "glpat-" + hex40[:20], "[REDACTED]"},
		{"slack-token", "xoxb-123456789012-abcdef", "[REDACTED]"},
		{"google-api-key", "?key=AIzaSyA-1234567890abcdefghijklmnopqrstu", "?key=[REDACTED]"},
		{"stripe-key", "sk_live_" + hex40, "[REDACTED]"},
		{"jwt", "cookie=" + token + ";", "cookie=[REDACTED];"},
		{
			"private-key", `{"key":"-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"}`,
			`{"key":"-----BEGIN RSA PRIVATE KEY-----[REDACTED]-----END RSA PRIVATE KEY-----\n"}`,
		},
	} {
		for _, surrounding := range []string{"", "x", "some text in front of it: ", strings.Repeat("long ", 100)} {
			r := newRedactor(t, Options{})
			if surrounding == "x" {
				surrounding = "x "
			}
			require.Equal(t, []string{surrounding + test.want + " after"}, edit(r, 1, 0, surrounding+test.line+" after"))
			require.Contains(t, r.counted(), test.rule)
			// Redacting again changes and counts nothing.
			again := newRedactor(t, Options{})
			require.Equal(t, []string{test.want}, edit(again, 1, 0, test.want))
			require.Empty(t, again.counted())
		}
	}
}

func TestOrdinaryLinesStay(t *testing.T) {
	r := newRedactor(t, Options{})
	lines := []string{
		"", "a", "ab", "abc", "the bearer of bad news", "bearer authentication failed", "Basic authentication is required", "GET http://host:8080/path?x=1 200",
		"mail to joe@example.com about http://example.com/a:b@c", "AKIA is short", "ghp_short", "sha256 " + strings.Repeat("0a", 32),
		"cert -----BEGIN CERTIFICATE-----", "password: incorrect", "secret key: none", "\xff\xfe\x00 bad bytes eyJ",
	}
	require.Equal(t, lines, edit(r, 1, 0, lines...))
	require.Empty(t, r.counted())
}

// pem is a key of real form with lines of base64.
var pem = append(append([]string{"-----BEGIN PRIVATE KEY-----"}, strings.Fields(strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj ", 5)+"abcD+/==")...), "-----END PRIVATE KEY-----")

func TestKeysOverSeveralRecords(t *testing.T) {
	r := newRedactor(t, Options{})
	var want []string
	for _, line := range pem {
		if !strings.HasPrefix(line, "-----") {
			line = Redacted
		}
		want = append(want, line)
	}
	lines := append(append([]string{"before", pem[1]}, pem...), "abcD+/==", "after")
	require.Equal(t, append(append([]string{"before", pem[1]}, want...), "abcD+/==", "after"), edit(r, 1, 0, lines...))
	require.Equal(t, map[string]int64{"private-key": 6}, r.counted())

	// Another stream, other lines between those of the key, and a prefix.
	require.Equal(t, pem[:1], edit(r, 2, 0, pem[0]))
	require.Equal(t, []string{pem[1]}, edit(r, 3, 0, pem[1]))
	require.Equal(t, []string{"GET /", "INFO [REDACTED] x", "END: ", pem[7]}, edit(r, 2, 100, "GET /", "INFO "+pem[1]+" x", "END: ", pem[7]))
	require.Equal(t, []string{pem[1]}, edit(r, 2, 1000, pem[1]))
}

func TestReadingAgainFromTheMiddleOfAKey(t *testing.T) {
	full := edit(newRedactor(t, Options{}), 1, 0, pem...)
	for from := 1; from < len(pem)-2; from++ {
		r := newRedactor(t, Options{})
		require.Equal(t, full[from:], edit(r, 1, 1000, pem[from:]...), from)
		require.Equal(t, []string{"abcD+/=="}, edit(r, 1, 3000, "abcD+/=="))
	}
	// What only looks like it ends with the first line that does not.
	r := newRedactor(t, Options{})
	require.Equal(t, []string{Redacted, "hello world", pem[1]}, edit(r, 1, 1000, pem[1], "hello world", pem[1]))
	// At the beginning of a file there is no middle.
	require.Equal(t, []string{pem[1]}, edit(newRedactor(t, Options{}), 1, 0, pem[1]))
}

func TestKeyStateIsBounded(t *testing.T) {
	r := newRedactor(t, Options{})
	for i := range 3 * maxOpen {
		record := storage.Record{Source: storage.SourceID{byte(i), byte(i >> 8), 1}, Line: []byte(pem[0])}
		r.Edit(&record)
	}
	require.LessOrEqual(t, len(r.keys.open), maxOpen)

	r = newRedactor(t, Options{})
	lines := []string{pem[0]}
	for range maxKeyRecords + 10 {
		lines = append(lines, "word")
	}
	got := edit(r, 1, 0, lines...)
	require.Equal(t, Redacted, got[1])
	require.Equal(t, "word", got[len(got)-1])
}

func TestOwnRules(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRedactor(t, Options{NoBuiltin: true, Registerer: reg, Rules: []Rule{
		{Name: "session", Regexp: `(session=)[0-9a-f]+`, Replacement: "${1}***"},
		{Name: "short", Regexp: `pin \d{4}`},
		{Name: "named", Regexp: `(?i)user (?P<who>\w+)`, Replacement: "user <$who>"},
		{Name: "kelvin", Regexp: `(?i)kiosks`},
	}})
	require.Equal(t, []string{
		"session=*** session=***, [REDACTED]", "user <Joe>", "[REDACTED]", "Authorization: Bearer abcdefghij1234567890",
	}, edit(r, 1, 0, "session=ab session=cd, pin 1234", "USER Joe", "\u212Aio\u017FKs", "Authorization: Bearer abcdefghij1234567890"))
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP binnacle_redact_replacements_total Secrets taken out of log lines.
# TYPE binnacle_redact_replacements_total counter
binnacle_redact_replacements_total{rule="kelvin"} 1
binnacle_redact_replacements_total{rule="named"} 1
binnacle_redact_replacements_total{rule="session"} 2
binnacle_redact_replacements_total{rule="short"} 1
`)))
	marked := newRedactor(t, Options{Mark: func(text []byte) []byte { return fmt.Appendf(nil, "<b>%s</b>", text) }})
	require.Equal(t, []string{"xoxo <b>[REDACTED]</b>"}, edit(marked, 1, 0, "xoxo xoxb-123456789012-abcdef"))
}

func TestBadRules(t *testing.T) {
	many := make([]Rule, maxRules)
	for i := range many {
		many[i] = Rule{Name: fmt.Sprint(i), Regexp: "x+"}
	}
	for want, rules := range map[string][]Rule{
		"a name is needed":      {{Regexp: "x"}},
		"missing closing":       {{Name: "a", Regexp: "(x"}},
		"matches the empty":     {{Name: "a", Regexp: "x*"}},
		"uses $2, but":          {{Name: "a", Regexp: "(x)", Replacement: "$2"}},
		"uses $1x, but":         {{Name: "a", Regexp: "(x)", Replacement: "$1x"}},
		"another rule":          {{Name: "jwt", Regexp: "x"}},
		"at most 63":            many,
		"rule \"private-key\":": {{Name: "private-key", Regexp: "x"}},
	} {
		_, err := New(Options{Rules: rules})
		require.ErrorContains(t, err, want)
	}
}

func TestLoad(t *testing.T) {
	load := func(text string) (Options, error) {
		file := filepath.Join(t.TempDir(), "rules.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		o, err := Load(file)
		if err != nil {
			err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), file, "FILE"))
		}
		return o, err
	}
	o, err := load("builtin: false\nrules:\n- name: a\n  regexp: 'x+'\n  replacement: y\n- {name: b, regexp: z}\n")
	require.NoError(t, err)
	require.Equal(t, Options{NoBuiltin: true, Rules: []Rule{{Name: "a", Regexp: "x+", Replacement: "y"}, {Name: "b", Regexp: "z"}}}, o)
	o, err = load("")
	require.NoError(t, err)
	require.Equal(t, Options{}, o)
	for text, want := range map[string]string{
		"- a":                       "FILE:1: the file is a mapping with builtin, rules",
		"builtin: maybe\nrulez: []": "FILE:1: builtin is true or false, not \"maybe\"\nFILE:2: unknown key \"rulez\": the file has builtin, rules",
		"rules: 7":                  "FILE:1: rules is a list of rules, each with name and regexp",
		"rules:\n- name: a\n  regexp: '('\n- name: b\n  regex: x\n- name: jwt\n  regexp: x\n": "FILE:2: redaction rule \"a\": error parsing regexp: missing closing ): `(`\n" +
			"FILE:5: unknown key \"regex\": a rule has name, regexp, replacement\nFILE:6: redaction rule \"jwt\": there is another rule of this name",
		"rules:\n- name: a": "FILE:2: a rule needs a name and a regexp",
		"a: b\n\t- c":       "FILE:2: found a tab character that violates indentation",
	} {
		_, err := load(text)
		require.EqualError(t, err, want, text)
	}
	_, err = Load("/does/not/exist")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("builtin: false\nrules:\n- name: a\n  regexp: 'x+'\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		o, err := parse(content)
		if err == nil {
			newRedactor(t, o)
		}
	})
}

// FuzzScanner holds the scanner against the regular expressions: it must not
// overlook a match.
func FuzzScanner(f *testing.F) {
	r := newRedactor(f, Options{Rules: []Rule{{Name: "own", Regexp: `(?i)(?:abcde|wxyz)\d`}}})
	var all []*regexp.Regexp
	for _, u := range r.rules {
		if u.re != nil {
			all = append(all, u.re)
		}
	}
	f.Add([]byte("xoxb-123456789012-abcdef"), 3)
	f.Add([]byte("Authorization: Bearer abcdefghij1234567890 ABCDE1"), 0)
	f.Fuzz(func(t *testing.T, line []byte, pad int) {
		line = append([]byte(strings.Repeat("-", min(max(pad, 0), 8))), line...)
		found := r.scanner.scan(line) | r.always
		for i, re := range all {
			if re.Match(line) {
				require.NotZero(t, found>>i&1, "%s in %q", re, line)
			}
		}
		edit(r, 1, int64(pad), string(line))
	})
}

// BenchmarkEdit is what redaction costs where there is nothing to redact.
func BenchmarkEdit(b *testing.B) {
	r := newRedactor(b, Options{})
	var lines [][]byte
	size := 0
	for n := range int64(1000) {
		line := corpus.Shape{}.AppendText(nil, 1, n)
		lines = append(lines, line)
		size += len(line)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		for i := range lines {
			record := storage.Record{Source: storage.SourceID{1}, Offset: 1, Line: lines[i]}
			r.Edit(&record)
		}
	}
	b.ReportMetric((cpuTime()-start).Seconds()/float64(b.N)/float64(size)*(1<<30), "CPU-s/GiB")
}

// cpuTime is that of the process.
func cpuTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}
