package cgroup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIdentify(t *testing.T) {
	cid := strings.Repeat("0123456789abcdef", 4)
	const uid = "c8e8ba4d-1b35-4e0c-9f8e-3b6cf7a6a001"
	const under = "c8e8ba4d_1b35_4e0c_9f8e_3b6cf7a6a001"
	const hash = "1a2b3c4d5e6f708192a3b4c5d6e7f809"
	container := func(runtime, qos, unit string) Identity {
		id := Identity{Kind: KindContainer, Runtime: runtime, ContainerID: cid, QoS: qos, Unit: unit}
		if qos != "" {
			id.PodUID = uid
		}
		return id
	}
	scope := func(prefix string) string { return prefix + cid + ".scope" }
	tests := []struct {
		id   string
		want Identity
	}{
		{"/", Identity{Kind: KindRoot}},
		{"/init", Identity{}},
		// The cgroupfs driver does not say which runtime.
		{"/kubepods", Identity{}},
		{"/kubepods/burstable", Identity{QoS: "burstable"}},
		{"/kubepods/besteffort", Identity{QoS: "besteffort"}},
		{"/kubepods/pod" + uid, Identity{Kind: KindPod, PodUID: uid, QoS: "guaranteed"}},
		{"/kubepods/burstable/pod" + uid, Identity{Kind: KindPod, PodUID: uid, QoS: "burstable"}},
		{"/kubepods/besteffort/pod" + hash, Identity{Kind: KindPod, PodUID: hash, QoS: "besteffort"}},
		{"/kubepods/burstable/pod" + uid + "/" + cid, container("", "burstable", "")},
		{"/kubepods/pod" + uid + "/" + cid, container("", "guaranteed", "")},
		{"/kubepods/pod" + uid + "/crio-" + cid, container("cri-o", "guaranteed", "")},
		{"/kubepods/pod" + uid + "/crio-conmon-" + cid, Identity{Runtime: "cri-o", PodUID: uid, QoS: "guaranteed"}},
		{"/kubepods/burstable/podnotauid", Identity{QoS: "burstable"}},
		{"/burstable/pod" + uid, Identity{}},
		// The systemd driver.
		{"/kubepods.slice", Identity{Kind: KindSlice, Unit: "kubepods.slice"}},
		{"/kubepods.slice/kubepods-burstable.slice", Identity{Kind: KindSlice, QoS: "burstable", Unit: "kubepods-burstable.slice"}},
		{
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice",
			Identity{Kind: KindPod, PodUID: uid, QoS: "burstable", Unit: "kubepods-burstable-pod" + under + ".slice"},
		},
		{
			"/kubepods.slice/kubepods-pod" + under + ".slice",
			Identity{Kind: KindPod, PodUID: uid, QoS: "guaranteed", Unit: "kubepods-pod" + under + ".slice"},
		},
		{
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + hash + ".slice",
			Identity{Kind: KindPod, PodUID: hash, QoS: "besteffort", Unit: "kubepods-besteffort-pod" + hash + ".slice"},
		},
		{
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/" + scope("cri-containerd-"),
			container("containerd", "burstable", scope("cri-containerd-")),
		},
		{
			"/kubepods.slice/kubepods-pod" + under + ".slice/" + scope("crio-"),
			container("cri-o", "guaranteed", scope("crio-")),
		},
		{
			"/kubepods.slice/kubepods-pod" + under + ".slice/" + scope("crio-conmon-"),
			Identity{Kind: KindScope, Runtime: "cri-o", PodUID: uid, QoS: "guaranteed", Unit: scope("crio-conmon-")},
		},
		{
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/" + scope("docker-"),
			container("docker", "besteffort", scope("docker-")),
		},
		{
			"/system.slice/containerd.service/kubepods-burstable-pod" + under + ".slice:cri-containerd:" + cid,
			container("containerd", "burstable", ""),
		},
		{
			"/kubepods-besteffort-pod" + under + ".slice:cri-containerd:" + cid,
			container("containerd", "besteffort", ""),
		},
		// A kubelet in a container: kind, minikube's docker driver.
		{"/docker/" + cid, container("docker", "", "")},
		{"/docker/" + cid + "/kubelet/kubepods/burstable/pod" + uid + "/" + cid, container("", "burstable", "")},
		{
			"/docker/" + cid + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + under +
				".slice/" + scope("cri-containerd-"),
			container("containerd", "besteffort", scope("cri-containerd-")),
		},
		// Groups that processes in a container made are not the container.
		{
			"/kubepods/burstable/pod" + uid + "/" + cid + "/init.scope",
			Identity{Kind: KindScope, PodUID: uid, QoS: "burstable", Unit: "init.scope"},
		},
		{"/docker/" + cid + "/system.slice/cron.service", Identity{Kind: KindService, Unit: "cron.service"}},
		// Without Kubernetes.
		{"/system.slice/" + scope("docker-"), container("docker", "", scope("docker-"))},
		{"/machine.slice/" + scope("libpod-"), container("podman", "", scope("libpod-"))},
		{"/machine.slice/" + scope("libpod-") + "/container", Identity{}},
		{"/machine.slice/" + scope("libpod-conmon-"), Identity{Kind: KindScope, Runtime: "podman", Unit: scope("libpod-conmon-")}},
		{"/libpod_parent/libpod-" + cid, container("podman", "", "")},
		{"/libpod_parent/" + cid, container("podman", "", "")},
		{"/system.slice/" + scope("nerdctl-"), container("containerd", "", scope("nerdctl-"))},
		{"/batch/" + cid, container("", "", "")},
		{"/batch/" + cid[:32], Identity{}},
		// systemd.
		{"/system.slice", Identity{Kind: KindSlice, Unit: "system.slice"}},
		{"/system.slice/ssh.service", Identity{Kind: KindService, Unit: "ssh.service"}},
		{`/system.slice/system-serial\x2dgetty.slice`, Identity{Kind: KindSlice, Unit: "system-serial-getty.slice"}},
		{`/system.slice/dev\x2d\xzz\x4.service`, Identity{Kind: KindService, Unit: `dev-\xzz\x4.service`}},
		{"/system.slice/_cpu.service", Identity{Kind: KindService, Unit: "cpu.service"}},
		{"/user.slice/user-1000.slice/session-2.scope", Identity{Kind: KindScope, Unit: "session-2.scope"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice", Identity{Kind: KindSlice, Unit: "app.slice"}},
		// Looks like one of a runtime and is not.
		{"/system.slice/docker-proxy.scope", Identity{Kind: KindScope, Unit: "docker-proxy.scope"}},
		{"/system.slice/docker.service", Identity{Kind: KindService, Unit: "docker.service"}},
		{"/a:b:c", Identity{}},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, identify(tt.id), tt.id)
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add("/kubepods/burstable/pod1a2b3c4d5e6f708192a3b4c5d6e7f809/0123")
	f.Add("/kubepods-besteffort-podc8e8.slice:cri-containerd:0123456789ab")
	f.Add(`/a\x2d.slice/b.scope`)
	f.Fuzz(func(t *testing.T, id string) {
		got := identify(id)
		if (got.Kind == KindContainer) != (got.ContainerID != "") || got.Kind == KindPod && got.PodUID == "" {
			t.Fatalf("%q: %+v", id, got)
		}
	})
}
