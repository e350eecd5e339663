package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Parts of the names that Kubernetes generates, as regular expressions.
const (
	// safeLetter is one of the letters and digits of which Kubernetes makes
	// random suffixes and hashes: none that spells words, nor that looks like
	// another (k8s.io/apimachinery, util/rand).
	safeLetter = "[bcdfghjklmnpqrstvwxz2456789]"
	// podSuffix tells the pods of one owner apart.
	podSuffix = safeLetter + "{5}"
	// templateHash tells the ReplicaSets of a Deployment apart: a number of 32
	// bits in decimal, each digit written as one of those letters.
	templateHash = safeLetter + "{6,10}"
	// minuteStamp is when a CronJob was due, in minutes since 1970.
	minuteStamp = "[0-9]{8,10}"
	// maxGeneratedBase is where Kubernetes cuts a name before it appends the
	// pod's suffix.
	maxGeneratedBase = 58
)

// workloadType is a kind of object that owns pods.
type workloadType struct {
	// kind is the value of the label workload_type, in lower case. It is ""
	// for owners that have an owner themselves: that one is in the label.
	kind string
	// between matches what stands between the name of the object and the
	// suffix of a pod.
	between string
	// longest is how long that can be.
	longest int
	// suffix matches the end of the name of a pod.
	suffix string
}

// workloadTypes are the types that pods can be found by, in kubectl's
// spellings.
var workloadTypes = map[string]workloadType{
	"deployment":            {kind: "deployment", between: templateHash + "-", longest: 11, suffix: podSuffix},
	"statefulset":           {kind: "statefulset", suffix: "[0-9]+"},
	"daemonset":             {kind: "daemonset", suffix: podSuffix},
	"replicaset":            {suffix: podSuffix},
	"replicationcontroller": {kind: "replicationcontroller", suffix: podSuffix},
	"job":                   {kind: "job", between: "(?:[0-9]+-)?", longest: 11, suffix: podSuffix},
	"cronjob":               {kind: "cronjob", between: minuteStamp + "-", longest: 11, suffix: podSuffix},
}

var typeAliases = map[string]string{
	"deploy": "deployment", "deployments": "deployment",
	"sts": "statefulset", "statefulsets": "statefulset",
	"ds": "daemonset", "daemonsets": "daemonset",
	"rs": "replicaset", "replicasets": "replicaset",
	"rc": "replicationcontroller", "replicationcontrollers": "replicationcontroller",
	"jobs": "job",
	"cj":   "cronjob", "cronjobs": "cronjob",
	"po": "pod", "pods": "pod",
}

// target is whose logs are asked for.
type target struct {
	// name of a workload, pod or file, or a regular expression; "" for all.
	name string
	// kind is a key of workloadTypes, "pod", "file", or "" when name may be
	// that of a pod or a regular expression.
	kind string
}

// objectName is what Kubernetes allows as the name of a workload or pod.
var objectName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

// parseTarget reads TYPE/NAME, a pod, a file or a regular expression.
func parseTarget(text string) (target, error) {
	kind, name, typed := strings.Cut(text, "/")
	switch {
	case !typed:
		if _, err := regexp.Compile(text); err != nil {
			return target{}, usagef("%q is neither a pod, nor TYPE/NAME, nor a regular expression: %w", text, err)
		}
		return target{name: text}, nil
	case kind == "":
		return target{name: text, kind: "file"}, nil
	}
	// kubectl also takes deployment.apps and deployments.v1.apps.
	kind, _, _ = strings.Cut(strings.ToLower(kind), ".")
	if full := typeAliases[kind]; full != "" {
		kind = full
	}
	if kind == "service" || kind == "services" || kind == "svc" {
		return target{}, usagef("%s: a Service finds its pods by their labels, which are not stored with logs: name the workload behind it, such as deploy/%s", text, name)
	}
	if _, known := workloadTypes[kind]; !known && kind != "pod" {
		names := append(slices.Sorted(maps.Keys(workloadTypes)), "pod")
		return target{}, usagef("%s: pods are not found by %q%s; types are %s", text, kind, didYouMean(kind, names), strings.Join(names, ", "))
	}
	if !objectName.MatchString(name) {
		return target{}, usagef("%s: %q is not the name of a %s", text, name, kind)
	}
	return target{name: name, kind: kind}, nil
}

// podNames is a regular expression, anchored at both ends, for the names of
// the pods of a workload called name.
func (t workloadType) podNames(name string) string {
	full := regexp.QuoteMeta(name) + "-" + t.between + t.suffix
	if t.suffix != podSuffix || len(name)+1+t.longest <= maxGeneratedBase {
		return full
	}
	// The name was cut, somewhere in what stands between or before.
	rest := maxGeneratedBase - len(name) - 1
	if rest < 0 {
		return regexp.QuoteMeta(name[:maxGeneratedBase]) + podSuffix
	}
	if rest == 0 {
		return regexp.QuoteMeta(name) + "-" + podSuffix
	}
	return fmt.Sprintf("%s|%s-[-a-z0-9]{%d}%s", full, regexp.QuoteMeta(name), rest, podSuffix)
}

// podPrefix is a regular expression that the names of all pods of the
// workload match, whatever else does.
func podPrefix(name string) string {
	return regexp.QuoteMeta(name[:min(len(name), maxGeneratedBase)]) + ".+"
}

// workloadOf finds which workload the name of a pod looks like, as TYPE/NAME;
// "" when it looks like a pod without an owner.
func workloadOf(pod string) string {
	for _, guess := range workloadGuesses {
		if match := guess.names.FindStringSubmatch(pod); match != nil {
			return guess.alias + "/" + match[1]
		}
	}
	return ""
}

// workloadGuesses are in the order from the most to the least distinct.
var workloadGuesses = []struct {
	alias string
	names *regexp.Regexp
}{
	{"cronjob", regexp.MustCompile("^(.+)-" + minuteStamp + "-" + podSuffix + "$")},
	{"deploy", regexp.MustCompile("^(.+)-" + templateHash + "-" + podSuffix + "$")},
	{"sts", regexp.MustCompile("^(.+)-[0-9]{1,4}$")},
	{"ds", regexp.MustCompile("^(.+)-" + podSuffix + "$")},
}
