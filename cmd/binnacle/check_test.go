package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const goodRules = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n  - record: job:up:sum\n    expr: sum by (job) (up)\n"

func TestCheckConfig(t *testing.T) {
	t.Run("fine", func(t *testing.T) {
		rules := writeFile(t, "r.yml", goodRules)
		file := writeFile(t, "c.yaml", "retention: 30d\nrules: "+rules+"\n")
		got := execute(t, options{}, "check", "config", file)
		require.Equal(t, outcome{stdout: file + ": would start \"binnacle run\"\n"}, got)
	})
	t.Run("an agent is recognised", func(t *testing.T) {
		file := writeFile(t, "c.yaml", "server: [https://a:7070, https://b:7070]\n")
		got := execute(t, options{}, "check", "config", file)
		require.Equal(t, outcome{stdout: file + ": would start \"binnacle agent\"\n"}, got)
	})
	t.Run("all mistakes of it and the files it names", func(t *testing.T) {
		rules := writeFile(t, "r.yml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n")
		scrape := writeFile(t, "s.yml", "scrape_configs:\n- job_nam: x\n")
		file := writeFile(t, "c.yaml", "retension: 30d\nrules: "+rules+"\nscrape-config: "+scrape+"\nauth-token-file: /does/not/exist\n")
		got := execute(t, options{}, "check", "config", file, "--for", "server")
		require.Equal(t, exitLint, got.code)
		require.Contains(t, got.stdout, file+`:1: unknown key "retension" (did you mean "retention"?)`)
		require.Contains(t, got.stdout, rules+`: 5:11: group "g", rule 1, "A": could not parse expression`)
		require.Contains(t, got.stdout, "field job_nam not found")
		require.Contains(t, got.stdout, "--auth-token-file: open /does/not/exist")
		require.Contains(t, got.stderr, "4 mistakes found")
	})
	t.Run("an agent without a server", func(t *testing.T) {
		file := writeFile(t, "c.yaml", "interval: 1s\n")
		got := execute(t, options{}, "check", "config", file, "--for", "agent")
		require.Equal(t, exitLint, got.code)
		require.Contains(t, got.stdout, file+": --server is missing")
	})
	t.Run("an address that is refused", func(t *testing.T) {
		file := writeFile(t, "c.yaml", "listen: :7070\n")
		got := execute(t, options{}, "check", "config", file)
		require.Equal(t, exitLint, got.code)
		require.Contains(t, got.stdout, file+": listening on :7070, which is not a loopback address, needs TLS and a credential")
	})
	t.Run("a file that is not there is no mistake in it", func(t *testing.T) {
		got := execute(t, options{}, "check", "config", "/does/not/exist")
		require.Equal(t, exitUsage, got.code)
	})
	t.Run("variables do not count", func(t *testing.T) {
		file := writeFile(t, "c.yaml", "interval: 1s\n")
		got := execute(t, options{environ: []string{"BINNACLE_RETENTION=x", "BINNACLE_SERVER=http://x"}}, "check", "config", file, "--for", "agent")
		require.Equal(t, exitLint, got.code)
	})
}

func TestCheckRules(t *testing.T) {
	good, bad := writeFile(t, "a.yml", goodRules), writeFile(t, "b.yml", "groups:\n- nam: g\n")
	require.Equal(t, outcome{stdout: "4 rules in 2 files are fine\n"}, execute(t, options{}, "check", "rules", good, good))

	got := execute(t, options{}, "check", "rules", good, bad)
	require.Equal(t, exitLint, got.code)
	require.Contains(t, got.stdout, bad+": ")
	require.Contains(t, got.stdout, "field nam not found")
	require.Equal(t, "binnacle: 1 mistake found\n", got.stderr)

	got = execute(t, options{}, "check", "rules", "/does/not/exist.yml")
	require.Equal(t, exitLint, got.code)
}
