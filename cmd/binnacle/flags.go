package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/binnacle-obs/binnacle/collector"
)

// mode is one of the long-running commands.
type mode string

const (
	modeRun    mode = "run"
	modeAgent  mode = "agent"
	modeServer mode = "server"
)

var modes = []string{string(modeRun), string(modeAgent), string(modeServer)}

// sectionAnnotation is the key of the flag annotation that holds the headline
// under which help lists the flag.
const sectionAnnotation = "section"

// modeSettings are the settings of the long-running commands. Each has a
// flag, an environment variable and a key in the configuration file.
type modeSettings struct {
	config    string
	listen    string
	dataDir   string
	logLevel  string
	logFormat string

	tlsCertFile     string
	tlsKeyFile      string
	tlsClientCAFile string
	authTokenFile   string
	insecure        bool

	// scrapeConfig is shared by agent and server.
	scrapeConfig string

	// What the agent half reads.
	interval    time.Duration
	nodeName    string
	cgroupRoot  string
	procRoot    string
	sysRoot     string
	rootFS      string
	podLogsRoot string
	collect     []string

	logs logModeSettings

	// Where an agent that is not part of run sends.
	servers        []string
	serverToken    string
	serverCA       string
	serverCert     string
	serverKey      string
	bufferMaxBytes int64

	// The server half.
	retention        time.Duration
	retentionSize    int64
	outOfOrderWindow time.Duration
	rules            []string
	alertmanagers    []string
	alertmanagerHTTP string
	externalURL      string
	enableAdminAPI   bool
	queryTimeout     time.Duration
	queryMaxSamples  int
	queryConcurrency int

	// effective holds the values of all settings once they are resolved.
	effective map[string]string
}

// flagBlock defines flags under one headline of the help output.
type flagBlock struct {
	flags   *pflag.FlagSet
	section string
}

// add defines a flag without a shorthand.
func (b flagBlock) add(value setting, name, usage string) {
	b.addShort(value, name, "", usage)
}

// addShort defines a flag with a one-letter shorthand.
func (b flagBlock) addShort(value setting, name, short, usage string) {
	f := b.flags.VarPF(value, name, short, usage)
	f.Annotations = map[string][]string{sectionAnnotation: {b.section}}
	if value.Type() == kindBool {
		f.NoOptDefVal = strconv.FormatBool(true)
	}
}

// newModeSet returns the flags of m on their own, outside of a command.
func newModeSet(m mode, lookup func(string) string) (*pflag.FlagSet, *modeSettings) {
	flags := pflag.NewFlagSet(string(m), pflag.ContinueOnError)
	return flags, newModeFlags(flags, m, lookup)
}

// newModeFlags defines the flags of m and returns where their values go,
// with the defaults in place. lookup finds environment variables that are
// not ours, such as NODE_NAME.
func newModeFlags(flags *pflag.FlagSet, m mode, lookup func(string) string) *modeSettings {
	s := &modeSettings{}
	s.general(flags, m)
	if m != modeServer {
		s.agentHalf(flags, lookup)
		s.logs.reading(flags, m)
	}
	if m == modeAgent {
		s.shipping(flags)
	}
	if m != modeAgent {
		s.serverHalf(flags)
		s.logs.keeping(flags)
	}
	s.logs.elasticsearch(flags, m)
	s.access(flags)
	return s
}

func (s *modeSettings) general(flags *pflag.FlagSet, m mode) {
	s.listen, s.dataDir, s.logLevel, s.logFormat = "127.0.0.1:7070", "/var/lib/binnacle", "info", "text"
	switch m {
	case modeRun:
		s.dataDir = "./data"
	case modeAgent:
		s.listen = "127.0.0.1:7071"
	}
	b := flagBlock{flags, "Flags"}
	b.add(textValue(&s.config, kindFile), "config", "YAML file with settings; its keys are the names of these flags")
	b.add(textValue(&s.listen, kindAddress), "listen", "address to serve HTTP on")
	b.add(textValue(&s.dataDir, kindDir), "data-dir", "folder of everything that is kept")
	b.add(textValue(&s.scrapeConfig, kindFile), "scrape-config", "Prometheus configuration file whose scrape_configs to scrape")
	b.add(enumValue(&s.logLevel, "debug", "info", "warn", "error"), "log-level", "least severe messages to log")
	b.add(enumValue(&s.logFormat, "text", "json"), "log-format", "format of log messages on stderr")
}

func (s *modeSettings) access(flags *pflag.FlagSet) {
	b := flagBlock{flags, "Access (any --listen address but loopback needs TLS and a credential)"}
	b.add(textValue(&s.tlsCertFile, kindFile), "tls-cert-file", "PEM certificate to serve HTTPS with; read again when it changes")
	b.add(textValue(&s.tlsKeyFile, kindFile), "tls-key-file", "PEM key of the certificate")
	b.add(textValue(&s.tlsClientCAFile, kindFile), "tls-client-ca-file", "PEM authorities whose client certificates to accept")
	b.add(textValue(&s.authTokenFile, kindFile), "auth-token-file", "file with the bearer token to ask clients for")
	b.add(boolValue(&s.insecure), "insecure", "serve any address without TLS and credentials")
}

func (s *modeSettings) agentHalf(flags *pflag.FlagSet, lookup func(string) string) {
	s.interval, s.nodeName = 5*time.Second, defaultNodeName(lookup)
	s.cgroupRoot, s.procRoot, s.sysRoot, s.rootFS = "/sys/fs/cgroup", "/proc", "/sys", "/"
	b := flagBlock{flags, "What to read"}
	b.add(durationValue(&s.interval, time.Second), "interval", "time between two readings")
	b.add(textValue(&s.nodeName, kindText), "node-name", "name of this machine in all series and logs")
	b.add(choicesValue(&s.collect, "GROUP", collector.OptInGroups()), "collect", "further metrics to collect, of "+strings.Join(collector.OptInGroups(), ", ")+"; repeatable")
	b.add(textValue(&s.cgroupRoot, kindDir), "cgroup-root", "where the cgroup file systems are mounted")
	b.add(textValue(&s.procRoot, kindDir), "proc-root", "where the host's /proc is mounted")
	b.add(textValue(&s.sysRoot, kindDir), "sys-root", "where the host's /sys is mounted")
	b.add(textValue(&s.rootFS, kindDir), "root-fs", "where the host's root file system is mounted")
	b.add(textValue(&s.podLogsRoot, kindDir), "pod-logs-root", "folder of the pods' logs, whose names tell namespace, pod and container (default var/log/pods below --root-fs)")
}

func (s *modeSettings) shipping(flags *pflag.FlagSet) {
	s.bufferMaxBytes = 1 << 30
	b := flagBlock{flags, "Where to send"}
	b.add(listValue(&s.servers, kindURL), "server", "binnacle server, or the remote-write URL of another receiver; repeatable")
	b.add(textValue(&s.serverToken, kindFile), "server-token-file", "file with the bearer token for the servers")
	b.add(textValue(&s.serverCA, kindFile), "server-ca-file", "PEM authorities to verify the servers with, instead of the system's")
	b.add(textValue(&s.serverCert, kindFile), "server-cert-file", "PEM client certificate for the servers")
	b.add(textValue(&s.serverKey, kindFile), "server-key-file", "PEM key of the client certificate")
	b.add(bytesValue(&s.bufferMaxBytes), "buffer-max-bytes", "disk space for samples that are not sent yet; beyond it the oldest are shed")
}

func (s *modeSettings) serverHalf(flags *pflag.FlagSet) {
	s.retention = 15 * 24 * time.Hour
	s.outOfOrderWindow = 24 * time.Hour
	s.queryTimeout, s.queryMaxSamples, s.queryConcurrency = 2*time.Minute, 50_000_000, 20
	b := flagBlock{flags, "Storage, queries and rules"}
	b.add(durationValue(&s.retention, time.Hour), "retention", "how long to keep samples")
	b.add(bytesValue(&s.retentionSize), "retention-size", "disk space for samples; beyond it the oldest are deleted (default no limit)")
	b.add(durationValue(&s.outOfOrderWindow, 0), "out-of-order-window", "how late samples may arrive")
	b.add(listValue(&s.rules, kindGlob), "rules", "Prometheus rule files to evaluate; repeatable")
	b.add(listValue(&s.alertmanagers, kindURL), "alertmanager", "Alertmanager to notify; repeatable")
	b.add(textValue(&s.alertmanagerHTTP, kindFile), "alertmanager-http-config", "Prometheus http_config file with credentials and TLS for the Alertmanagers")
	b.add(textValue(&s.externalURL, kindURL), "external-url", "URL under which others reach this server, for links in alerts")
	b.add(boolValue(&s.enableAdminAPI), "enable-admin-api", "allow snapshots and deletion of series by HTTP")
	b.add(durationValue(&s.queryTimeout, time.Second), "query-timeout", "longest time a query may take")
	b.add(numberValue(&s.queryMaxSamples), "query-max-samples", "most samples a query may hold in memory")
	b.add(numberValue(&s.queryConcurrency), "query-concurrency", "queries that run at the same time")
}

// defaultNodeName is the NODE_NAME that a DaemonSet passes by the downward
// API, or the host name.
func defaultNodeName(lookup func(string) string) string {
	if name := lookup("NODE_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// environmentName is the variable that sets the flag name.
func environmentName(flag string) string {
	return "BINNACLE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
