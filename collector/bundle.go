package collector

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// bundles reads the names of containers from the OCI bundles that container
// runtimes keep while a container runs: they are plain files, no socket.
type bundles struct{ patterns []string }

// newBundles looks below root, usually /run.
func newBundles(root string) bundles {
	return bundles{patterns: []string{
		filepath.Join(root, "containerd/io.containerd.runtime.v2.task/k8s.io/CONTAINER/config.json"),
		filepath.Join(root, "k3s/containerd/io.containerd.runtime.v2.task/k8s.io/CONTAINER/config.json"),
		filepath.Join(root, "containers/storage/overlay-containers/CONTAINER/userdata/config.json"),
	}}
}

// maxBundle bounds a config.json; they have some 20 kB.
const maxBundle = 4 << 20

// names returns what the annotations of the bundle say; empty when there is none.
func (b bundles) names(id string) Names {
	for _, pattern := range b.patterns {
		path := strings.Replace(pattern, "CONTAINER", id, 1)
		f, err := os.Open(path)
		if err != nil {
			continue // no such container of this runtime, or not for our eyes
		}
		var config struct {
			Annotations map[string]string `json:"annotations"`
		}
		err = json.NewDecoder(io.LimitReader(f, maxBundle)).Decode(&config)
		_ = f.Close() // only read
		if err == nil {
			return annotatedNames(config.Annotations)
		}
	}
	return Names{}
}

// annotatedNames understands the annotations of containerd's CRI plugin and of CRI-O.
func annotatedNames(a map[string]string) Names {
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := a[k]; v != "" {
				return v
			}
		}
		return ""
	}
	n := Names{
		Namespace: first("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"),
		Pod:       first("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
		Container: first("io.kubernetes.cri.container-name", "io.kubernetes.container.name"),
		Image:     first("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"),
	}
	if first("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType") == "sandbox" {
		n.Sandbox, n.Container = true, ""
	}
	return n
}
