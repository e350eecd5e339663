package scrape

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"
)

// scrapeSections are the sections of Prometheus' configuration that scraping
// itself uses.
var scrapeSections = []string{"global", "scrape_configs", "scrape_config_files"}

// unknownMechanism matches upstream's complaint about a service discovery
// that is not compiled in.
var unknownMechanism = regexp.MustCompile(`field (\w+_sd_configs) not found`)

// LoadConfig reads a Prometheus configuration file: a complete prometheus.yml
// or one with scrape_configs only. Unknown keys are errors. Relative paths in
// it count from the file's folder. Sections that scraping does not use and
// that are not listed in alsoUsed are named in a warning, so that nobody
// believes them to be in force.
func LoadConfig(file string, logger *slog.Logger, alsoUsed ...string) (*config.Config, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the scrape configuration: %w", err)
	}
	cfg, err := config.Load(string(content), logger)
	if err != nil {
		return nil, explain(file, err)
	}
	cfg.SetDirectory(filepath.Dir(file))
	if err := checkScrapeConfigs(cfg); err != nil {
		return nil, explain(file, err)
	}
	if ignored := ignoredSections(content, alsoUsed); len(ignored) > 0 {
		logger.Warn("The configuration file has sections that are not used here.",
			"file", file, "sections", strings.Join(ignored, ", "))
	}
	return cfg, nil
}

// checkScrapeConfigs reads scrape_config_files and the certificates that the
// scrapes need, which upstream would otherwise complain about in the log
// only, with the job missing.
func checkScrapeConfigs(cfg *config.Config) error {
	scrapes, err := cfg.GetScrapeConfigs()
	if err != nil {
		return err
	}
	for _, sc := range scrapes {
		client, err := commonconfig.NewClientFromConfig(sc.HTTPClientConfig, sc.JobName)
		if err != nil {
			return fmt.Errorf("job %q: HTTP client: %w", sc.JobName, err)
		}
		client.CloseIdleConnections()
	}
	return nil
}

// explain names the file and, for a service discovery that is not built in,
// those that are.
func explain(file string, err error) error {
	if m := unknownMechanism.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("scrape configuration %s: %s is not supported; use one of %s: %w", file, m[1], mechanisms, err)
	}
	return fmt.Errorf("scrape configuration %s: %w", file, err)
}

// ignoredSections lists the top-level keys of a configuration that nobody
// uses, in their order.
func ignoredSections(content []byte, alsoUsed []string) []string {
	var root yaml.Node
	// config.Load has accepted the file; what is not a mapping has no keys.
	if err := yaml.Unmarshal(content, &root); err != nil || len(root.Content) == 0 {
		return nil
	}
	var ignored []string
	top := root.Content[0].Content
	for i := 0; i+1 < len(top); i += 2 {
		key := top[i].Value
		if !slices.Contains(scrapeSections, key) && !slices.Contains(alsoUsed, key) {
			ignored = append(ignored, key)
		}
	}
	return ignored
}
