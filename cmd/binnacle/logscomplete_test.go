package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompletionOfNames(t *testing.T) {
	f := newCartLogs(t)
	f.names = []string{firstPod, secondPod, "db-0", "agent-x2x4k", "report-29012345-q8zvn", "tool"}
	for _, c := range []struct{ args, asked, want string }{
		{"logs ", "label/pod/values ", "agent-x2x4k\n" + secondPod + "\n" + firstPod + "\ncronjob/report\ndb-0\ndeploy/cart\nds/agent\nreport-29012345-q8zvn\nsts/db\ntool\n:4\n"},
		{"grep x ", "label/pod/values ", "agent-x2x4k\n" + secondPod + "\n" + firstPod + "\ncronjob/report\ndb-0\ndeploy/cart\nds/agent\nreport-29012345-q8zvn\nsts/db\ntool\n:4\n"},
		{"logs -n shop --node a -c ", `label/container/values {namespace="shop", node="a"}`, strings.Join(f.names, "\n") + "\n:4\n"},
		{"logs -n ", `label/namespace/values `, strings.Join(f.names, "\n") + "\n:4\n"},
	} {
		args := append([]string{"__complete"}, strings.Split(c.args, " ")...)
		got := execute(t, options{environ: []string{"BINNACLE_ADDR=" + f.URL}}, args...)
		require.Equal(t, c.want, got.stdout, c.args)
		require.Equal(t, c.asked, f.asked[len(f.asked)-1])
	}
	for _, args := range []string{"grep ", "logs a ", "grep a b "} {
		got := execute(t, options{}, append([]string{"__complete"}, strings.Split(args, " ")...)...)
		require.Equal(t, ":4\n", got.stdout, args)
	}
	got := execute(t, options{environ: []string{"BINNACLE_ADDR=http://127.0.0.1:1"}}, "__complete", "logs", "")
	require.Equal(t, ":4\n", got.stdout, "a server that is not there is no error")
}
