package main

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestHelp(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, args := range []string{
		"", "run", "agent", "server", "query", "query instant", "query range", "query series", "query labels",
		"logs", "grep", "top", "top node", "top pod", "top container", "check", "check config", "check rules", "check redaction", "version",
	} {
		t.Run(args, func(t *testing.T) {
			got := execute(t, options{}, append(strings.Fields(args), "--help")...)
			require.Equal(t, exitOK, got.code)
			require.Empty(t, got.stderr)
			text := strings.ReplaceAll(got.stdout, "(default "+host+")", "(default HOSTNAME)")
			requireGolden(t, "help/"+strings.Join(append([]string{"binnacle"}, strings.Fields(args)...), "-")+".txt", text)
		})
	}
}

// Examples are read before anything else, so they have to work.
func TestExamplesParse(t *testing.T) {
	root := newRoot(&process{})
	examples := regexp.MustCompile(`(?m)^  binnacle (.*?)(?: \| |$)`)
	walk(root, func(cmd *cobra.Command) {
		for _, match := range examples.FindAllStringSubmatch(strings.ReplaceAll(cmd.Example, "\\\n", " "), -1) {
			args := shellFields(match[1])
			found, rest, err := newRoot(&process{}).Find(args)
			require.NoError(t, err, match[0])
			require.NoError(t, found.ParseFlags(rest), match[0])
			if found.Args != nil {
				require.NoError(t, found.ValidateArgs(found.Flags().Args()), match[0])
			}
			require.False(t, found.HasAvailableSubCommands() && len(found.Flags().Args()) > 0, match[0])
		}
	})
}

// shellFields splits at spaces outside of single quotes.
func shellFields(line string) []string {
	var fields []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			fields = append(fields, part)
			continue
		}
		fields = append(fields, strings.Fields(part)...)
	}
	return fields
}

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

func TestEveryCommandIsExplained(t *testing.T) {
	walk(newRoot(&process{}), func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Parent() != nil && cmd.Parent().Name() == "completion" {
			return
		}
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { require.NotEmpty(t, f.Usage, f.Name) })
	})
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"qery", `unknown command "qery" of "binnacle" (did you mean "query"?)`},
		{"xyz", `unknown command "xyz" of "binnacle"` + "\n"},
		{"query instnt x", `unknown command "instnt" of "binnacle query" (did you mean "instant"?)`},
		{"query instant", "the expression is missing"},
		{"query instant a b", `too many arguments, from "b" on`},
		{"query range x --stap 1m", `unknown flag --stap (did you mean "--step"?)`},
		{"query range x --since 1h --start -2h", "[since start]"},
		{"query range x --start -1h --end -2h", "the range is empty"},
		{"query instant x --time yesterday", `flag --time: "yesterday" is not a time, such as`},
		{"query instant x -o yaml", `flag --output: "yaml" is not one of table, json, jsonl, raw`},
		{"query instant x --addr localhost:7070", `flag --addr: "localhost:7070" is not a URL`},
		{"query instant x --cert-file a", "--cert-file and --key-file need each other"},
		{"run --retention", "flag --retention needs a value of the kind DURATION"},
		{"run --retention 15x", `flag --retention: "15x" is not a duration, such as 15d, 36h or 30s`},
		{"run --retention-size 12XB", `flag --retention-size: "12XB" is not a size, such as 512MiB`},
		{"run --interval 10ms", `flag --interval: "10ms" is too short: the least is 1s`},
		{"run --listen 7070", `flag --listen: "7070" is not an address, such as 127.0.0.1:7070,`},
		{"run --log-level trace", `flag --log-level: "trace" is not one of debug, info, warn, error`},
		{"run --query-concurrency 0", `flag --query-concurrency: "0" is not a whole number of at least 1`},
		{"run -z", "unknown flag -z"},
		{"run x", `too many arguments, from "x" on`},
		{"agent", "--server is missing: give the URL of at least one binnacle server"},
		{"agent --server http://x --server-cert-file /dev/null", "--server-cert-file needs --server-key-file"},
		{"server --auth-token-file /does/not/exist", "--auth-token-file: open /does/not/exist: no such file"},
		{"server --config /does/not/exist", "open /does/not/exist: no such file"},
		{"top pod a b", `too many arguments, from "b" on`},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := execute(t, options{}, strings.Fields(c.args)...)
			require.Contains(t, got.stderr, c.want)
			require.Equal(t, exitUsage, got.code)
			require.Empty(t, got.stdout)
		})
	}
}

func TestClientErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		code   int
		want   string
	}{
		{"bad query", 400, `{"status":"error","errorType":"bad_data","error":"1:5: parse error: unexpected end of input"}`, exitUsage, "binnacle: 1:5: parse error: unexpected end of input\n"},
		{"unauthorized", 401, `Unauthorized`, exitForbidden, "asks for a credential (401): give --token-file"},
		{"forbidden", 403, `{"status":"error","error":"no access to namespace shop"}`, exitForbidden, "forbids this (403): no access to namespace shop"},
		{"not found", 404, `404 page not found`, exitUsage, "has no such API (404): check host, port and path of --addr"},
		{"server error", 500, `{"status":"error","errorType":"internal","error":"disk on fire"}`, exitUsage, "disk on fire"},
		{"timeout", 503, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`, exitUsage, "query timed out"},
		{"not JSON", 200, `<html>Welcome</html>`, exitUsage, "does not answer as the Prometheus API does"},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := newFakeAPI(t, always(c.status, c.body))
			for _, command := range []string{"query instant x", "query range x", "query series x", "query labels", "top node", "top pod", "top container"} {
				got := execute(t, options{}, append(strings.Fields(command), "--addr", api.URL)...)
				require.Contains(t, got.stderr, c.want, command)
				require.Equal(t, c.code, got.code, command)
				require.Empty(t, got.stdout, command)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	api := newFakeAPI(t, always(200, ""))
	api.Close()
	got := execute(t, options{environ: []string{"BINNACLE_ADDR=" + api.URL}}, "query", "instant", "up")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "nothing listens at "+api.URL+`: is "binnacle run" (or "binnacle server") started?`)
}

func TestInterruptedClient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	api := newFakeAPI(t, func(request) (int, string) {
		cancel()
		<-asked
		return http.StatusOK, success("[]")
	})
	got := execute(t, options{ctx: ctx}, "query", "instant", "up", "--addr", api.URL)
	close(asked)
	require.Equal(t, outcome{code: exitInterrupt}, got)
}

func TestTokenAndEnvironment(t *testing.T) {
	api := newFakeAPI(t, always(200, success(`{"resultType":"vector","result":[]}`)))
	token := t.TempDir() + "/token"
	require.NoError(t, os.WriteFile(token, []byte("s3cret\n"), 0o600))
	environ := []string{"BINNACLE_ADDR=" + api.URL + "/prefix/", "BINNACLE_TOKEN_FILE=" + token}

	got := execute(t, options{environ: environ}, "query", "instant", "up")
	require.Equal(t, outcome{stderr: "nothing found\n"}, got)
	require.Equal(t, "Bearer s3cret", api.last().header.Get("Authorization"))
	require.Equal(t, "/prefix/api/v1/query", api.last().path)

	got = execute(t, options{environ: append(environ, "BINNACLE_COLOR=blue")}, "query", "instant", "up")
	require.Contains(t, got.stderr, `environment variable BINNACLE_COLOR: "blue" is not one of auto, always, never`)
	require.Equal(t, exitUsage, got.code)

	require.NoError(t, os.WriteFile(token, nil, 0o600))
	got = execute(t, options{environ: environ}, "query", "instant", "up")
	require.Contains(t, got.stderr, "is empty: want a token")

	require.NoError(t, os.WriteFile(token, []byte("# for the night shift\ns3cret\n"), 0o600))
	got = execute(t, options{environ: environ}, "query", "instant", "up")
	require.Contains(t, got.stderr, "want one token on one line")
	require.NotContains(t, got.stderr, "s3cret")
	got = execute(t, options{}, "agent", "--server", "http://127.0.0.1:1", "--server-token-file", token)
	require.Contains(t, got.stderr, "--server-token-file: "+token+": want one token on one line")
	require.Equal(t, exitUsage, got.code)
}

func TestVersion(t *testing.T) {
	got := execute(t, options{}, "version")
	require.Regexp(t, `^binnacle \S+\ncommit \S+\ngo1\S+ linux/\S+\n$`, got.stdout)
	require.Equal(t, exitOK, got.code)
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := execute(t, options{}, "completion", shell)
		require.Equal(t, exitOK, got.code)
		require.Contains(t, got.stdout, "binnacle")
	}
}

func TestClosest(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"retension", "retention"},
		{"Retention", "retention"},
		{"retention-sise", "retention-size"},
		{"up", ""},
		{"unrelated", ""},
	} {
		require.Equal(t, c.want, closest(c.word, []string{"listen", "retention", "retention-size", "rules"}), c.word)
	}
}
