package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPodNamesOfWorkloads(t *testing.T) {
	long := strings.Repeat("a", 50)
	for _, c := range []struct {
		kind, name, pod string
		want            bool
	}{
		{"deployment", "cart", "cart-7d9f8c6b5d-x2x4k", true},
		{"deployment", "cart", "cart-db-7d9f8c6b5d-x2x4k", false},
		{"deployment", "cart", "cart-7d9f8c6b5d-x2x4", false},
		{"deployment", "cart", "my-cart-7d9f8c6b5d-x2x4k", false},
		{"deployment", "cart", "cart-0", false},
		{"deployment", "a.b", "axb-7d9f8c6b5d-x2x4k", false},
		{"deployment", long, long + "-7d9f8c6x2x4k", true},
		{"deployment", long, long + "-7d9f8c6b5d-x2x4k", true},
		{"deployment", strings.Repeat("b", 60), strings.Repeat("b", 58) + "x2x4k", true},
		{"daemonset", "agent", "agent-x2x4k", true},
		{"daemonset", "agent", "agent-x2x4e", false}, // no vowels
		{"daemonset", strings.Repeat("b", 57), strings.Repeat("b", 57) + "-x2x4k", true},
		{"statefulset", "db", "db-12", true},
		{"statefulset", "db", "db-x", false},
		{"job", "once", "once-x2x4k", true},
		{"job", "once", "once-3-x2x4k", true},
		{"cronjob", "report", "report-29012345-q8zvn", true},
		{"cronjob", "report", "report-q8zvn", false},
		{"replicaset", "cart-7d9f8c6b5d", "cart-7d9f8c6b5d-x2x4k", true},
	} {
		labels := map[string]string{"pod": c.pod}
		selector := "{" + matches("pod", workloadTypes[c.kind].podNames(c.name)).String() + "}"
		require.Equal(t, c.want, selectorHolds(selector, labels), "%s %s %s", c.kind, c.name, c.pod)
		if c.want {
			require.True(t, selectorHolds("{"+matches("pod", podPrefix(c.name)).String()+"}", labels), c.pod)
		}
	}
}
