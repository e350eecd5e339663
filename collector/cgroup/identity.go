package cgroup

import (
	"strconv"
	"strings"
)

// Kind is what a cgroup is for, as far as its name tells.
type Kind uint8

// The kinds.
const (
	KindOther Kind = iota
	KindRoot
	KindSlice     // of systemd
	KindService   // of systemd
	KindScope     // of systemd, not of a container
	KindPod       // of Kubernetes
	KindContainer // of any runtime
)

// String returns the kind in lower case.
func (k Kind) String() string {
	names := [...]string{"other", "root", "slice", "service", "scope", "pod", "container"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Identity is what the path of a cgroup tells. Fields that it does not tell
// are empty.
type Identity struct {
	Kind Kind
	// Runtime is "containerd", "cri-o", "docker" or "podman". The names of
	// the cgroupfs driver below kubepods do not tell it.
	Runtime string
	// ContainerID is set for the container's own group only, not for groups
	// that processes inside of the container made.
	ContainerID string
	// PodUID with dashes. It is set for the pod and everything below; static
	// pods have a hash without dashes.
	PodUID string
	// QoS is "guaranteed", "burstable" or "besteffort".
	QoS string
	// Unit is the systemd unit of KindSlice, KindService and KindScope and of
	// containers in a scope, with \x2d and the like undone.
	Unit string
}

// runtimes are the prefixes of container ids in the names of scopes and
// groups. Those of helpers (conmon) come first, having a runtime's prefix as
// well.
var runtimes = []struct {
	prefix, name string
}{
	{"crio-conmon-", "cri-o"},
	{"libpod-conmon-", "podman"},
	{"libpod-payload-", "podman"},
	{"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},
	{"crio-", "cri-o"},
	{"docker-", "docker"},
	{"libpod-", "podman"},
}

// identify reads a path from the outside in: each element may be that of a
// pod or container, and what is deeper wins, so that a kubelet in a container
// (kind, minikube) is understood with its own pods.
func identify(id string) Identity {
	if id == "/" {
		return Identity{Kind: KindRoot}
	}
	var out Identity
	parent := ""
	for elem := range strings.SplitSeq(strings.Trim(id, "/"), "/") {
		out = identifyElement(elem, parent, out)
		parent = elem
	}
	return out
}

// identifyElement tells what elem is in a parent directory of that name,
// which outer describes.
func identifyElement(elem, parent string, outer Identity) Identity {
	out := Identity{PodUID: outer.PodUID, QoS: outer.QoS}
	// containerd's cgroupfs driver given a systemd style path:
	// kubepods-burstable-pod<uid>.slice:cri-containerd:<id>
	if slice, rest, ok := strings.Cut(elem, ":"); ok {
		if prefix, cid, ok := strings.Cut(rest, ":"); ok && isContainerID(cid) {
			out = identifyElement(slice, parent, outer)
			out.Kind, out.Unit, out.ContainerID = KindContainer, "", cid
			out.Runtime, _ = runtimeOf(prefix + "-")
			return out
		}
	}
	name, suffix := elem, ""
	if i := strings.LastIndexByte(elem, '.'); i > 0 {
		name, suffix = elem[:i], elem[i:]
	}
	if uid, qos, ok := podOf(name, suffix, parent, outer); ok {
		return Identity{Kind: KindPod, PodUID: uid, QoS: qos, Unit: unitOf(elem, suffix)}
	}
	if qos, ok := qosOf(name, suffix, parent); ok {
		out.QoS, out.PodUID = qos, ""
	}
	switch suffix {
	case ".slice":
		out.Kind, out.Unit = KindSlice, unitOf(elem, suffix)
	case ".service":
		out.Kind, out.Unit = KindService, unitOf(elem, suffix)
	case ".scope":
		out.Kind, out.Unit = KindScope, unitOf(elem, suffix)
		withContainer(&out, name, "")
	case "":
		withContainer(&out, name, parent)
	}
	return out
}

// withContainer recognises <runtime>-<id> and, outside of scopes, a bare id.
func withContainer(out *Identity, name, parent string) {
	runtime, prefix := runtimeOf(name)
	cid := name[len(prefix):]
	if !isContainerID(cid) {
		return
	}
	if prefix == "" {
		if out.Kind == KindScope || len(cid) != 64 {
			return
		}
		switch parent {
		case "docker":
			runtime = "docker"
		case "libpod_parent":
			runtime = "podman"
		}
	}
	if strings.HasSuffix(prefix, "conmon-") {
		out.Runtime = runtime
		return
	}
	out.Kind, out.Runtime, out.ContainerID = KindContainer, runtime, cid
}

// runtimeOf finds the runtime whose prefix a name has.
func runtimeOf(name string) (runtime, prefix string) {
	for _, r := range runtimes {
		if strings.HasPrefix(name, r.prefix) {
			return r.name, r.prefix
		}
	}
	return "", ""
}

// isContainerID: runtimes use 64 hex digits; shorter ones of at least 12 are
// taken where a prefix says what they are.
func isContainerID(s string) bool {
	if len(s) < 12 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < '0' || c > '9' && c < 'a' || c > 'f' {
			return false
		}
	}
	return true
}

// podOf recognises pod<uid> below kubepods, and …kubepods…-pod<uid>.slice.
func podOf(name, suffix, parent string, outer Identity) (uid, qos string, ok bool) {
	switch {
	case suffix == ".slice":
		i := strings.LastIndex(name, "-pod")
		if i < 0 {
			return "", "", false
		}
		qos, ok = qosOf(name[:i], suffix, parent)
		if qos == "" {
			qos = "guaranteed" // no slice of its own: directly below kubepods
		}
		uid = strings.ReplaceAll(name[i+len("-pod"):], "_", "-")
	case suffix == "" && strings.HasPrefix(name, "pod"):
		qos, ok = outer.QoS, parent == "kubepods" || outer.QoS != "" && parent == outer.QoS
		if parent == "kubepods" {
			qos = "guaranteed"
		}
		uid = name[len("pod"):]
	}
	return uid, qos, ok && isPodUID(uid)
}

// qosOf recognises the directories that Kubernetes puts pods in: kubepods
// (which has pods of all classes below: no class), kubepods/burstable,
// kubepods-besteffort.slice; with any prefix, because a kubelet may have its
// own root below another slice.
func qosOf(name, suffix, parent string) (string, bool) {
	switch {
	case suffix == "" && name == "kubepods":
		return "", true
	case suffix == "" && parent == "kubepods" && (name == "burstable" || name == "besteffort"):
		return name, true
	case suffix == ".slice":
		for _, q := range []string{"burstable", "besteffort"} {
			if base, ok := strings.CutSuffix(name, "-"+q); ok && isKubepods(base) {
				return q, true
			}
		}
		return "", isKubepods(name)
	}
	return "", false
}

func isKubepods(name string) bool {
	return name == "kubepods" || strings.HasSuffix(name, "-kubepods")
}

// isPodUID: a UUID, or the hash of a static pod's manifest.
func isPodUID(s string) bool {
	if len(s) < 32 || len(s) > 36 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9' && c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// unitOf turns a directory name into a unit name: systemd puts "_" before
// names that the kernel might use itself, and writes special characters as
// \xNN. Empty for what is no unit.
func unitOf(elem, suffix string) string {
	if suffix == "" {
		return ""
	}
	elem = strings.TrimPrefix(elem, "_")
	if !strings.Contains(elem, `\x`) {
		return elem
	}
	var b strings.Builder
	for len(elem) > 0 {
		if strings.HasPrefix(elem, `\x`) && len(elem) >= 4 {
			if v, err := strconv.ParseUint(elem[2:4], 16, 8); err == nil {
				b.WriteByte(byte(v))
				elem = elem[4:]
				continue
			}
		}
		b.WriteByte(elem[0])
		elem = elem[1:]
	}
	return b.String()
}
