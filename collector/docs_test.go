package collector

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/metrics.md and the golden files of testdata")

const docsFile = "../docs/metrics.md"

func TestEveryFamilyOfCadvisorIsCovered(t *testing.T) {
	listed := map[string]Descriptor{}
	for _, d := range All() {
		require.NotContains(t, listed, d.Name, "listed twice")
		require.NotEmpty(t, d.Help, d.Name)
		require.NotEmpty(t, d.Versus, d.Name)
		listed[d.Name] = d
	}
	text, err := os.ReadFile("testdata/cadvisor-families.txt")
	require.NoError(t, err)
	theirs := map[string]bool{}
	for name := range strings.FieldsSeq(string(text)) {
		theirs[name] = true
		d, ok := listed[name]
		require.True(t, ok, "%s of cAdvisor is neither collected nor left out with a reason", name)
		require.NotEqual(t, "new", d.Versus, name)
	}
	for name, d := range listed {
		if !theirs[name] {
			require.Equal(t, "new", d.Versus, name)
		}
	}
}

// TestEveryFamilyHasASlot finds families that are listed but never collected.
func TestEveryFamilyHasASlot(t *testing.T) {
	r := newRig(t, func(o *Options) { o.OptIn = OptInGroups() })
	used := map[string]bool{"container_scrape_error": true, "container_oom_events_total": true}
	sections := append([]*section{&r.sections.files, &r.sections.sched, &r.sections.tcp, &r.sections.udp}, r.sections.read...)
	for _, s := range sections {
		for _, f := range s.families {
			used[f.Name] = true
		}
	}
	for _, families := range tableFamilies(r.Collector) {
		for _, name := range families {
			used[name] = true
		}
	}
	for _, d := range All() {
		if d.leftOut() || strings.HasPrefix(d.Name, "machine_") {
			continue
		}
		require.True(t, used[d.Name], "%s is listed but nothing collects it", d.Name)
	}
}

func tableFamilies(c *Collector) [][]string {
	x := &c.tables
	return [][]string{
		familyNames(&x.io), familyNames(&x.blkio), familyNames(&x.hugetlb), familyNames(&x.network),
		familyNames(&x.perCPU), familyNames(&x.numa), familyNames(&x.disk), familyNames(&x.diskStats),
	}
}

func familyNames[T any](t *table[T]) (names []string) {
	for _, f := range t.families {
		names = append(names, f.Name)
	}
	return names
}

func TestMetricsDocumentIsFresh(t *testing.T) {
	want := document()
	if *update {
		require.NoError(t, os.WriteFile(docsFile, want, 0o644))
	}
	have, err := os.ReadFile(docsFile)
	require.NoError(t, err)
	requireSameLines(t, string(have), string(want))
}

// document writes docs/metrics.md from All.
func document() []byte {
	var b bytes.Buffer
	b.WriteString(docsHead)
	for _, part := range []struct {
		title string
		match func(Descriptor) bool
	}{
		{"Containers", func(d Descriptor) bool { return strings.HasPrefix(d.Name, "container_") && d.Default }},
		{"Machine", func(d Descriptor) bool { return strings.HasPrefix(d.Name, "machine_") && d.Default }},
		{"Opt-in", func(d Descriptor) bool { return !d.Default && !d.leftOut() }},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| Family | Type | Meaning | Labels | Group | cgroup v1 | cgroup v2 | Compared with cAdvisor |\n|---|---|---|---|---|---|---|---|\n", part.title)
		for _, d := range All() {
			if part.match(d) {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s |\n",
					d.Name, d.Type, d.Help, code(d.Labels), d.Group, orDash(d.V1), orDash(d.V2), d.Versus)
			}
		}
	}
	b.WriteString("\n## Families of cAdvisor that are left out\n\n| Family | Meaning | Why |\n|---|---|---|\n")
	for _, d := range All() {
		if d.leftOut() {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, d.Help, strings.TrimPrefix(d.Versus, "left out: "))
		}
	}
	b.WriteString(docsTail)
	return b.Bytes()
}

func code(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return "`" + strings.Join(labels, "` `") + "`"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

const docsHead = `# Metrics

<!-- Generated from collector.All by "go test ./collector -update"; a test fails when it is out of date. -->

One reading of all cgroups is one *cycle*: every interval (5 s by default), aligned to the wall clock, all samples of a cycle with one
timestamp. A value that the kernel does not have is absent, never 0; when a value ceases to exist, or its container goes, the series ends
with a staleness marker. As the last process leaves a cgroup its files are read once more, so a container that lives for less than an
interval leaves its final values under the time of that reading (` + "`binnacle_collector_final_samples_total{result=\"stored|missed\"}`" + `).

## Labels

| Label | Value |
|---|---|
| ` + "`job`, `metrics_path`, `instance`, `node`" + ` | ` + "`cadvisor`, `/metrics/cadvisor`" + `, the name of the node (twice); at /metrics/cadvisor they are left to whoever scrapes |
| ` + "`id`" + ` | path of the cgroup; ` + "`/`" + ` is the machine |
| ` + "`name`" + ` | id of the container |
| ` + "`namespace`, `pod`" + ` | of Kubernetes; also on the cgroup of the pod itself, which has no ` + "`container`" + ` |
| ` + "`container`" + ` | name of the container in the pod; absent on the sandbox, which shows the network of the pod |
| ` + "`image`" + ` | image of the container |

Empty labels are absent. The machine itself has ` + "`machine_id`, `system_uuid` and `boot_id`" + `.

The names of pods and containers come, in this order, from

1. a watch of this node's pods, where there is one;
2. the OCI bundle that containerd, k3s and CRI-O keep of a running container below /run: exact, with the image;
3. the folders of /var/log/pods, ` + "`<namespace>_<pod>_<uid>/<container>/<restart>.log`" + `. Namespace and pod follow from the uid in the
   cgroup's path. The container's name follows when the pod has one container beside its sandbox; otherwise from the time at which the log
   and the cgroup were made: in order if each of the pod's containers has a log and each pair is within 10 s, or else if there is one log
   within 2 s of the cgroup and one cgroup within 2 s of the log. When that is not certain the label is absent. This source knows no image.

A sandbox is known by its bundle, or by its only process being called ` + "`pause`" + `. Names that come late are attached late: the series
goes on under its new labels and the old one gets a staleness marker.
`

const docsTail = `
## Application metrics

cAdvisor's scraping of applications named by container labels is left out: use scrape_configs.

## Node

` + "`node_*`" + ` come from [node_exporter](https://github.com/prometheus/node_exporter)'s own collectors, version 1.12.1, its default set, with its names
and labels: see [its documentation](https://github.com/prometheus/node_exporter/tree/v1.12.1#collectors). They have ` + "`job=\"node-exporter\"`" + `
and are gathered every 15 s by default.

## Own

Everything about binnacle itself is ` + "`binnacle_*`" + ` and has ` + "`job=\"binnacle\"`" + `. Of the collector:

| Family | Type | Meaning |
|---|---|---|
| ` + "`binnacle_collector_success{collector}`" + ` | gauge | 1 if the collector could read everything in the last cycle |
| ` + "`binnacle_collector_duration_seconds{step}`" + ` | gauge | time of ` + "`collect`, `append`, `node` and `binnacle`" + ` in the last cycle |
| ` + "`binnacle_collector_final_samples_total{result}`" + ` | counter | cgroups that ended, by whether their last reading was stored |
| ` + "`binnacle_collector_skipped_ticks_total`" + ` | counter | cycles left out because the one before took too long |
| ` + "`binnacle_collector_samples_total`" + ` | counter | samples handed to the store |
| ` + "`binnacle_collector_append_errors_total{reason}`" + ` | counter | batches that were not stored: ` + "`full`, `closed`, `error`" + ` |
| ` + "`binnacle_collector_rejected_samples_total{reason}`" + ` | counter | samples that the store refused for good |
| ` + "`binnacle_collector_dropped_total{reason}`" + ` | counter | what was not collected because a bound was reached |
| ` + "`binnacle_collector_cgroups`" + ` | gauge | cgroups that are read |
| ` + "`binnacle_collector_unnamed_containers`" + ` | gauge | cgroups of pods whose names are not known yet |

` + "`up`" + ` is 1 for the jobs ` + "`cadvisor`, `node-exporter` and `binnacle`" + ` while they can be collected.
`
