package alert

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// targetSets are addresses by the key of their configuration.
type targetSets = map[string][]*targetgroup.Group

// alertmanagers turns the URLs into upstream's configuration and the targets
// that service discovery would find for it.
func (o Options) alertmanagers() (*config.Config, targetSets, error) {
	client := commonconfig.DefaultHTTPClientConfig
	if o.HTTPConfigFile != "" {
		loaded, _, err := commonconfig.LoadHTTPConfigFile(o.HTTPConfigFile)
		if err != nil {
			return nil, nil, fmt.Errorf("HTTP configuration for Alertmanagers %s: %w", o.HTTPConfigFile, err)
		}
		client = *loaded
	}
	cfg := &config.Config{}
	sets := make(targetSets, len(o.Alertmanagers))
	var faults []error
	for i, raw := range o.Alertmanagers {
		am, host, err := alertmanager(raw, client)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		cfg.AlertingConfig.AlertmanagerConfigs = append(cfg.AlertingConfig.AlertmanagerConfigs, am)
		// Upstream's ToMap names the configurations like this.
		sets["config-"+strconv.Itoa(i)] = []*targetgroup.Group{{
			Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(host)}},
			Source:  strconv.Itoa(i),
		}}
	}
	if len(faults) > 0 {
		return nil, nil, errors.Join(faults...)
	}
	return cfg, sets, nil
}

// alertmanager reads one URL.
func alertmanager(raw string, client commonconfig.HTTPClientConfig) (*config.AlertmanagerConfig, string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		if parseErr, ok := errors.AsType[*url.Error](err); ok {
			err = parseErr.Err // without the URL, which may hold a password
		}
		return nil, "", fmt.Errorf("cannot read the URL of an Alertmanager: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, "", fmt.Errorf("URL of an Alertmanager %q: one like http://host:9093 or https://host/prefix is needed", u.Redacted())
	}
	am := config.DefaultAlertmanagerConfig
	am.Scheme, am.PathPrefix, am.HTTPClientConfig = u.Scheme, u.Path, client
	if u.User != nil {
		if client.BasicAuth != nil || client.Authorization != nil || client.OAuth2 != nil {
			return nil, "", fmt.Errorf("URL of an Alertmanager %q: credentials are given in the URL and in the HTTP configuration; leave one out", u.Redacted())
		}
		password, _ := u.User.Password()
		am.HTTPClientConfig.BasicAuth = &commonconfig.BasicAuth{Username: u.User.Username(), Password: commonconfig.Secret(password)}
	}
	// Upstream builds the client while the previous configuration is half
	// replaced; a certificate that cannot be read must show before.
	c, err := commonconfig.NewClientFromConfig(am.HTTPClientConfig, "alertmanager")
	if err != nil {
		return nil, "", fmt.Errorf("HTTP client for Alertmanager %q: %w", u.Redacted(), err)
	}
	c.CloseIdleConnections()
	return &am, u.Host, nil
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}
