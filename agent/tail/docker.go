package tail

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// dockerConfig is what is read of Docker's config.v2.json.
type dockerConfig struct {
	Name   string
	Config struct {
		Labels map[string]string
	}
}

// readDockerIdentity fills id from the configuration beside a container's log:
// its name, or what the kubelet noted there.
func readDockerIdentity(dir string, id identity) identity {
	b, err := os.ReadFile(filepath.Join(dir, "config.v2.json"))
	if err != nil {
		b = nil // not for us to read: the id is the name
	}
	return parseDockerConfig(b, id)
}

// shortIDLen is how much of a container's id Docker shows.
const shortIDLen = 12

func parseDockerConfig(b []byte, id identity) identity {
	var c dockerConfig
	if err := json.Unmarshal(b, &c); err != nil {
		c = dockerConfig{}
	}
	id.namespace = c.Config.Labels["io.kubernetes.pod.namespace"]
	id.pod = c.Config.Labels["io.kubernetes.pod.name"]
	id.uid = c.Config.Labels["io.kubernetes.pod.uid"]
	if id.container = c.Config.Labels["io.kubernetes.container.name"]; id.container == "" {
		id.container = strings.TrimPrefix(c.Name, "/")
	}
	if id.container == "" {
		id.container = id.containerID[:min(shortIDLen, len(id.containerID))]
	}
	return id
}
