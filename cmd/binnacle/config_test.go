package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/collector"
)

// writeFile writes a file of the test and returns its name.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

// resolveSettings gives the flags of a mode their values as the command does.
func resolveSettings(t *testing.T, m mode, environ []string, args ...string) (*modeSettings, error) {
	t.Helper()
	p := &process{environ: environ}
	flags, settings := newModeSet(m, p.lookup)
	require.NoError(t, flags.Parse(args))
	return settings, p.resolve(flags, m)
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "c.yaml", "retention: 3d\nrules: [file-a.yml, /file-b.yml]\ninsecure: true\nretention-size: 10GiB\n")
	for _, c := range []struct {
		name      string
		environ   []string
		args      []string
		retention time.Duration
		rules     []string
		insecure  bool
		size      int64
	}{
		{"default", nil, nil, 15 * 24 * time.Hour, nil, false, 0},
		{"file", nil, []string{"--config", file}, 3 * 24 * time.Hour, []string{filepath.Dir(file) + "/file-a.yml", "/file-b.yml"}, true, 10 << 30},
		{"file named by environment", []string{"BINNACLE_CONFIG=" + file}, nil, 3 * 24 * time.Hour, []string{filepath.Dir(file) + "/file-a.yml", "/file-b.yml"}, true, 10 << 30},
		{
			"environment over file",
			[]string{"BINNACLE_RETENTION=4d", "BINNACLE_RULES=env-a.yml,env-b.yml", "BINNACLE_INSECURE=false", "BINNACLE_RETENTION_SIZE=1GB"},
			[]string{"--config", file},
			4 * 24 * time.Hour,
			[]string{"env-a.yml", "env-b.yml"},
			false, 1e9,
		},
		{
			"flag over environment",
			[]string{"BINNACLE_RETENTION=4d", "BINNACLE_RULES=env-a.yml", "BINNACLE_INSECURE=true"},
			[]string{"--config", file, "--retention", "36h", "--rules", "flag-a.yml", "--rules", "flag-b.yml", "--insecure=false", "--retention-size", "512"},
			36 * time.Hour,
			[]string{"flag-a.yml", "flag-b.yml"},
			false, 512,
		},
		{"empty variable counts as unset", []string{"BINNACLE_RETENTION="}, []string{"--config", file}, 3 * 24 * time.Hour, []string{filepath.Dir(file) + "/file-a.yml", "/file-b.yml"}, true, 10 << 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := resolveSettings(t, modeServer, c.environ, c.args...)
			require.NoError(t, err)
			require.Equal(t, c.retention, s.retention)
			require.Equal(t, c.rules, s.rules)
			require.Equal(t, c.insecure, s.insecure)
			require.Equal(t, c.size, s.retentionSize)
		})
	}
}

// sampleOf returns a valid value other than the default for any setting.
func sampleOf(t *testing.T, f *pflag.Flag) string {
	t.Helper()
	switch kind := f.Value.Type(); kind {
	case kindBool:
		return strconv.FormatBool(f.DefValue != "true")
	case kindAddress:
		return "127.0.0.1:1234"
	case kindDuration:
		return "3d"
	case kindBytes:
		return "77MiB"
	case kindNumber:
		return "77"
	case kindURL:
		return "http://example:77"
	case "GROUP":
		return collector.OptInGroups()[0]
	case kindDir, kindFile, kindGlob:
		return "/tmp/77"
	default:
		choices := strings.Split(kind, "|")
		return choices[len(choices)-1]
	}
}

func TestEverySettingHasFlagVariableAndKey(t *testing.T) {
	for _, name := range modes {
		m := mode(name)
		flags, _ := newModeSet(m, func(string) string { return "" })
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Name == configFlag {
				return
			}
			want := sampleOf(t, f)
			require.NotEqual(t, want, f.DefValue, f.Name)

			given, _ := newModeSet(m, func(string) string { return "" })
			require.NoError(t, given.Parse([]string{"--" + f.Name + "=" + want}))
			require.Equal(t, want, given.Lookup(f.Name).Value.String())

			p := &process{environ: []string{environmentName(f.Name) + "=" + want}}
			fromVariable, _ := newModeSet(m, p.lookup)
			require.NoError(t, p.resolve(fromVariable, m))
			require.Equal(t, want, fromVariable.Lookup(f.Name).Value.String())

			fromFile, _ := newModeSet(m, p.lookup)
			require.NoError(t, applyConfigFile(fromFile, m, writeFile(t, "c.yaml", f.Name+": "+want+"\n")))
			require.Equal(t, want, fromFile.Lookup(f.Name).Value.String())
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Run("run", func(t *testing.T) {
		s, err := resolveSettings(t, modeRun, []string{"NODE_NAME=node-7"})
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:7070", s.listen)
		require.Equal(t, "./data", s.dataDir)
		require.Equal(t, 5*time.Second, s.interval)
		require.Equal(t, "node-7", s.nodeName)
	})
	t.Run("agent", func(t *testing.T) {
		s, err := resolveSettings(t, modeAgent, nil)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:7071", s.listen)
		require.Equal(t, "/var/lib/binnacle", s.dataDir)
		require.Equal(t, int64(1<<30), s.bufferMaxBytes)
	})
	t.Run("server", func(t *testing.T) {
		s, err := resolveSettings(t, modeServer, nil)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:7070", s.listen)
		require.Equal(t, 15*24*time.Hour, s.retention)
	})
}

func TestConfigMistakes(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{"mistyped key", "# first\nretension: 3d\n", []string{`FILE:2: unknown key "retension" (did you mean "retention"?)`}},
		{"unknown key", "colour: red\n", []string{`FILE:1: unknown key "colour"`}},
		{"config is no key", "config: other.yaml\n", []string{`FILE:1: unknown key "config"`}},
		{"key of another mode", "server: http://x\n", []string{`FILE:1: key "server" has no meaning for "binnacle run", only for "binnacle agent"`}},
		{"bad value", "listen: 127.0.0.1:7070\nretention: 3\n", []string{`FILE:2: key "retention": "3" is not a duration, such as 15d, 36h or 30s`}},
		{"list for a single", "retention: [1d, 2d]\n", []string{`FILE:1: key "retention" takes one value, not a list`}},
		{"map", "rules:\n  a: b\n", []string{`FILE:1: key "rules": takes a value or a list of values, not keys`}},
		{"nested list", "rules: [[a]]\n", []string{`FILE:1: key "rules": takes a list of plain values`}},
		{"no value", "rules:\n", []string{`FILE:1: key "rules": has no value`}},
		{"twice", "retention: 1d\nretention: 2d\n", []string{`FILE:2: key "retention" is given before, in line 1`}},
		{"not a mapping", "- a\n", []string{`FILE:1: want keys and values, such as "retention: 30d"`}},
		{"broken YAML", "retention: 1d\nrules: [a\n", []string{`: not YAML: did not find expected ',' or ']'`}},
		{"two documents", "retention: 1d\n---\nretention: 2d\n", []string{`FILE:2: only one YAML document is allowed`}},
		{"tabs", "rules:\n\t- a\n", []string{`FILE:2: not YAML: found character that cannot start any token`}},
		{
			"all at once", "retention: x\nlisten: y\nzzz: 1\n",
			[]string{`FILE:1: key "retention": "x" is not`, `FILE:2: key "listen": "y" is not`, `FILE:3: unknown key "zzz"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := writeFile(t, "c.yaml", c.content)
			got := execute(t, options{}, "check", "config", file, "--for", "run")
			require.Equal(t, exitLint, got.code)
			lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
			require.Len(t, lines, len(c.want), got.stdout)
			for i, want := range c.want {
				require.Contains(t, lines[i], strings.ReplaceAll(want, "FILE", file))
			}
			// The command itself refuses the same.
			started := execute(t, options{}, "run", "--config", file)
			require.Equal(t, exitUsage, started.code)
			require.Contains(t, started.stderr, strings.ReplaceAll(c.want[0], "FILE", file))
		})
	}
}

func TestFileMistakesCountBesideFlags(t *testing.T) {
	file := writeFile(t, "c.yaml", "retention: x\n")
	_, err := resolveSettings(t, modeServer, nil, "--config", file, "--retention", "1d")
	require.ErrorContains(t, err, file+`:1: key "retention": "x" is not a duration`)
}

func TestEmptyConfigFiles(t *testing.T) {
	for _, content := range []string{"", "# nothing yet\n", "---\n", "null\n"} {
		_, err := resolveSettings(t, modeServer, nil, "--config", writeFile(t, "c.yaml", content))
		require.NoError(t, err, "%q", content)
	}
}

func TestMistypedVariables(t *testing.T) {
	p := &process{environ: []string{
		"BINNACLE_RETENSION=1d", "BINNACLE_SERVICE_HOST=10.0.0.1", "BINNACLE_PORT=tcp://10.0.0.1:7070",
		"BINNACLE_RETENTION=1d", "BINNACLE_SERVER=http://x", "HOME=/root",
	}}
	flags, _ := newModeSet(modeServer, p.lookup)
	require.Equal(t, []string{"environment variable BINNACLE_RETENSION has no meaning (did you mean BINNACLE_RETENTION?)"}, p.mistypedVariables(flags))
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "77": 77, "77B": 77, "1k": 1000, "1KB": 1000, "1Ki": 1024, "512MiB": 512 << 20, "512Mi": 512 << 20,
		"1.5GiB": 3 << 29, "20GB": 20e9, "2 TiB": 2 << 40, "1T": 1e12,
	} {
		got, err := parseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "B", "-1", "1XB", "NaN", "Inf", "1e30", "10GiBs"} {
		_, err := parseBytes(text)
		require.Error(t, err, text)
	}
}

func TestFormatsReadBack(t *testing.T) {
	for _, n := range []int64{0, 1, 1023, 1024, 10 << 30, 3 << 29, 1e9} {
		got, err := parseBytes(formatBytes(n))
		require.NoError(t, err)
		require.Equal(t, n, got)
	}
	for d, want := range map[time.Duration]string{0: "0", 15 * 24 * time.Hour: "15d", 90 * time.Minute: "1h30m", 14 * 24 * time.Hour: "14d"} {
		require.Equal(t, want, formatDuration(d))
	}
}
