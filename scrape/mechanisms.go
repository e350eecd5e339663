package scrape

import (
	// Each import registers one kind of service discovery; static_configs is
	// part of upstream's discovery package. The rest of upstream's kinds stay
	// out: each brings the SDK of a cloud into the binary.
	_ "github.com/prometheus/prometheus/discovery/consul"
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
)

// mechanisms are the sections of a scrape configuration that find targets.
const mechanisms = "static_configs, file_sd_configs, http_sd_configs, dns_sd_configs, kubernetes_sd_configs, consul_sd_configs"
