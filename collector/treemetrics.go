package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

// counted is a cgroup tree that counts what happens to it.
type counted interface{ Counters() cgroup.Counters }

// treeMetrics shows the counters of the cgroup tree.
type treeMetrics struct{ tree counted }

func treeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("binnacle_cgroup_"+name, help, labels, nil)
}

// Families of treeMetrics.
var (
	descWatches        = treeDesc("watches", "Inotify watches on cgroup directories.")
	descDescriptors    = treeDesc("descriptors", "Descriptors kept open.")
	descMaxDescriptors = treeDesc("descriptors_limit", "Bound of the descriptors kept open.")
	descUnkept         = treeDesc("unkept_reads_total", "Readings of files that had to be opened and closed again because of the bound.")
	descFailedOpens    = treeDesc("no_descriptor_total", "Files not read because there was no descriptor or memory left.")
	descRescans        = treeDesc("rescans_total", "Walks of the whole tree after the first one.")
	descOverflows      = treeDesc("inotify_overflows_total", "Losses of inotify events; each is followed by a walk.")
	descRefused        = treeDesc("watches_refused_total", "Directories without a watch because of a bound.")
	descVanished       = treeDesc("vanished_total", "Readings of cgroups that were just removed.")
	descMissed         = treeDesc("missed_total", "Cgroups that were gone when they were looked at for the first time.")
	descUnread         = treeDesc("removed_total", "Cgroups removed without a last reading, by whether processes were seen in them.", "reason")
	descPidfd          = treeDesc("pidfd_failed_total", "Cgroups whose emptying only a rescan notices.")
	descEmptied        = treeDesc("emptied_total", "Cgroups that emptied, by what told it.", "source")
	descParse          = treeDesc("parse_errors_total", "Files that could not be understood.", "file")
)

// Describe implements prometheus.Collector.
func (t treeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descWatches, descDescriptors, descMaxDescriptors, descUnkept, descFailedOpens, descRescans, descOverflows, descRefused,
		descVanished, descMissed, descUnread, descPidfd, descEmptied, descParse,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (t treeMetrics) Collect(ch chan<- prometheus.Metric) {
	n := t.tree.Counters()
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descWatches, n.Watches)
	gauge(descDescriptors, n.Descriptors)
	gauge(descMaxDescriptors, n.MaxDescriptors)
	count(descUnkept, n.UnkeptReads)
	count(descFailedOpens, n.NoDescriptor)
	count(descRescans, n.Rescans)
	count(descOverflows, n.Overflows)
	count(descRefused, n.WatchesRefused)
	count(descVanished, n.Vanished)
	count(descMissed, n.Missed)
	count(descUnread, n.RemovedUnread, "unread")
	count(descUnread, n.RemovedUnseen, "unseen")
	count(descPidfd, n.PidfdFailed)
	for source, v := range n.Emptied {
		count(descEmptied, v, source)
	}
	for file, v := range n.ParseErrors {
		count(descParse, v, file)
	}
}
