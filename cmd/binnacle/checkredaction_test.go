package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckRedaction(t *testing.T) {
	const log = "hello\nAuthorization: Bearer abcdefghij1234567890\nsession=0123 x\npostgres://joe:hunter2@db/shop\n"
	file := writeFile(t, "app.log", log)
	require.Equal(t, outcome{
		stdout: "Authorization: Bearer [REDACTED]\npostgres://joe:[REDACTED]@db/shop\n",
		stderr: "2 of 4 lines would be changed\n       1 bearer-token\n       1 url-password\n",
	}, execute(t, options{}, "check", "redaction", file))

	rules := writeFile(t, "rules.yaml", "builtin: false\nrules:\n- name: session\n  regexp: '(session=)\\w+'\n  replacement: '$1*'\n")
	for _, args := range [][]string{{"-"}, {}} {
		got := execute(t, options{stdin: strings.NewReader(log), columns: 80}, append([]string{"check", "redaction", "--rules", rules}, args...)...)
		require.Equal(t, outcome{
			stdout: "\x1b[1;31msession=*\x1b[0m x\n", stderr: "1 of 4 lines would be changed\n       1 session\n",
		}, got)
	}
}

func TestCheckRedactionMistakes(t *testing.T) {
	file := writeFile(t, "app.log", "x\n")
	rules := writeFile(t, "rules.yaml", "rules:\n- name: a\n  regexp: '('\n- name: b\n")
	got := execute(t, options{}, "check", "redaction", "--rules", rules, file)
	require.Equal(t, exitLint, got.code)
	require.Contains(t, got.stdout, rules+":2: redaction rule \"a\": error parsing regexp")
	require.Contains(t, got.stdout, rules+":4: a rule needs a name and a regexp")
	require.Contains(t, got.stderr, "2 mistakes found")

	for _, args := range [][]string{{"/does/not/exist"}, {file, file}, {file, "--rules", "/does/not/exist"}} {
		got := execute(t, options{}, append([]string{"check", "redaction"}, args...)...)
		require.Equal(t, exitUsage, got.code, args)
	}
	long := execute(t, options{stdin: strings.NewReader(strings.Repeat("x", maxCheckedLine+1))}, "check", "redaction")
	require.Equal(t, exitUsage, long.code)
	require.Contains(t, long.stderr, "line 1: ")
}
