package scrape

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoadConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, content string
		want          []string
	}{
		{"not yaml", "scrape_configs: [", []string{"yaml"}},
		{"unknown key", "scrape_configs:\n- job_name: a\n  scrape_intervall: 5s\n", []string{"line 3", "scrape_intervall"}},
		{"unknown section", "scrap_configs: []\n", []string{"scrap_configs"}},
		{"wrong duration", "scrape_configs:\n- job_name: a\n  scrape_interval: soon\n", []string{"soon"}},
		{"time-out above interval", "scrape_configs:\n- job_name: a\n  scrape_interval: 1s\n  scrape_timeout: 5s\n", []string{"scrape timeout greater than scrape interval", `"a"`}},
		{"two jobs of one name", "scrape_configs:\n- job_name: a\n- job_name: a\n", []string{"multiple scrape configs", `"a"`}},
		{"service discovery of a cloud", "scrape_configs:\n- job_name: a\n  ec2_sd_configs:\n  - region: x\n", []string{"ec2_sd_configs is not supported", "kubernetes_sd_configs", "consul_sd_configs"}},
		{"certificate missing", "scrape_configs:\n- job_name: a\n  tls_config: {cert_file: /nonexistent/c, key_file: /nonexistent/k}\n", []string{`job "a"`, "/nonexistent/c"}},
		{"broken scrape_config_files", "scrape_config_files: [broken.yml]\n", []string{"broken.yml"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "prometheus.yml")
			require.NoError(t, os.WriteFile(file, []byte(tc.content), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.yml"), []byte("scrape_configs: 5"), 0o600))
			_, err := LoadConfig(file, nil)
			require.Error(t, err)
			require.ErrorContains(t, err, file)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestLoadConfigMissingFile(t *testing.T) {
	t.Parallel()
	_, err := LoadConfig(filepath.Join(t.TempDir(), "none.yml"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "none.yml")
}

func TestLoadConfigTakesCompletePrometheusFile(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg, err := LoadConfig("testdata/prometheus.yml", slog.New(slog.NewTextHandler(&log, nil)), "otlp")
	require.NoError(t, err)

	scrapes, err := cfg.GetScrapeConfigs()
	require.NoError(t, err)
	names := make([]string, 0, len(scrapes))
	for _, sc := range scrapes {
		names = append(names, sc.JobName)
	}
	// "more" comes from scrape_config_files, relative to the file's folder.
	require.ElementsMatch(t, []string{"pods", "files", "http", "dns", "consul", "static", "more"}, names)

	require.Contains(t, log.String(), `sections="alerting, rule_files, remote_write, storage"`)
	require.NotContains(t, log.String(), "otlp")
}

func TestLoadConfigResolvesRelativePaths(t *testing.T) {
	t.Parallel()
	cfg, err := LoadConfig("testdata/prometheus.yml", nil)
	require.NoError(t, err)
	for _, sc := range cfg.ScrapeConfigs {
		if sc.JobName == "static" {
			require.Equal(t, "testdata/token", sc.HTTPClientConfig.Authorization.CredentialsFile)
		}
	}
}
