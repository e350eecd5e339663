package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// configFlag names the file itself, so it is the one setting without a key.
const configFlag = "config"

// configKey is one key of a configuration file.
type configKey struct {
	name   string
	line   int
	values []string
	list   bool // written as a YAML sequence
}

// lookup returns an environment variable, "" when it is unset.
func (p *process) lookup(name string) string {
	for _, pair := range p.environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// applyEnvironment sets those flags that the command line does not from
// their environment variables. Several values are separated by commas.
func (p *process) applyEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		s, ok := f.Value.(setting)
		if !ok || f.Changed {
			return
		}
		name := environmentName(f.Name)
		text := p.lookup(name)
		if text == "" {
			return
		}
		values := []string{text}
		if s.many() {
			values = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' })
		}
		if err := s.replace(values); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	return errors.Join(errs...)
}

// mistypedVariables returns warnings about BINNACLE_ variables that are
// almost the name of a flag. Others are left alone: Kubernetes itself sets
// such names for Services.
func (p *process) mistypedVariables(flags *pflag.FlagSet) []string {
	const prefix = "BINNACLE_"
	var known []string // without the prefix, which is no likeness
	add := func(f *pflag.Flag) {
		known = append(known, strings.ToLower(strings.TrimPrefix(environmentName(f.Name), prefix)))
	}
	flags.VisitAll(add)
	for _, m := range modes {
		other, _ := newModeSet(mode(m), p.lookup)
		other.VisitAll(add)
	}
	var warnings []string
	for _, pair := range p.environ {
		name, _, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, prefix)
		if !ours || slices.Contains(known, strings.ToLower(rest)) {
			continue
		}
		if best := closest(rest, known); best != "" {
			warnings = append(warnings, fmt.Sprintf("environment variable %s has no meaning (did you mean %s?)", name, prefix+strings.ToUpper(best)))
		}
	}
	return warnings
}

// resolve gives the flags of a long-running command their values: command
// line before environment before file before default. It returns every
// mistake it finds.
func (p *process) resolve(flags *pflag.FlagSet, m mode) error {
	file := flags.Lookup(configFlag)
	if !file.Changed {
		if name := p.lookup(environmentName(configFlag)); name != "" {
			if err := file.Value.Set(name); err != nil {
				return err
			}
		}
	}
	var fileErr error
	if name := file.Value.String(); name != "" {
		fileErr = applyConfigFile(flags, m, name)
	}
	return errors.Join(fileErr, p.applyEnvironment(flags))
}

// applyConfigFile sets those flags that the command line does not from the
// keys of a file, and checks all keys.
func applyConfigFile(flags *pflag.FlagSet, m mode, file string) error {
	keys, err := readConfigFile(file)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		if err := applyKey(flags, m, key, filepath.Dir(file)); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, key.line, err))
		}
	}
	return errors.Join(errs...)
}

// applyKey sets the flag of one key. Relative paths are relative to dir.
func applyKey(flags *pflag.FlagSet, m mode, key configKey, dir string) error {
	f := flags.Lookup(key.name)
	if f == nil || key.name == configFlag {
		return unknownKey(flags, m, key.name)
	}
	s, ok := f.Value.(setting)
	if !ok {
		return unknownKey(flags, m, key.name)
	}
	if key.list && !s.many() {
		return fmt.Errorf("key %q takes one value, not a list", key.name)
	}
	values := slices.Clone(key.values)
	if isPath(s.Type()) {
		for i, v := range values {
			if v != "" && !filepath.IsAbs(v) {
				values[i] = filepath.Join(dir, v)
			}
		}
	}
	take := s.replace
	if f.Changed {
		take = s.check
	}
	if err := take(values); err != nil {
		return fmt.Errorf("key %q: %w", key.name, err)
	}
	return nil
}

func isPath(kind string) bool {
	return kind == kindFile || kind == kindDir || kind == kindGlob
}

// unknownKey explains why m has no key of that name: it belongs to another
// mode, or it is mistyped.
func unknownKey(flags *pflag.FlagSet, m mode, name string) error {
	var owners []string
	for _, other := range modes {
		set, _ := newModeSet(mode(other), func(string) string { return "" })
		if name != configFlag && set.Lookup(name) != nil {
			owners = append(owners, fmt.Sprintf("\"binnacle %s\"", other))
		}
	}
	if len(owners) > 0 {
		return fmt.Errorf("key %q has no meaning for \"binnacle %s\", only for %s", name, m, strings.Join(owners, " and "))
	}
	return fmt.Errorf("unknown key %q%s", name, didYouMean(name, keyNames(flags)))
}

// keyNames are the keys that a configuration file may have.
func keyNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Value.(setting); ok && f.Name != configFlag {
			names = append(names, f.Name)
		}
	})
	return names
}

// readConfigFile reads the keys of a file in their order.
func readConfigFile(file string) ([]configKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	keys, err := parseConfig(f)
	if err != nil {
		return nil, prefixEach(file, err)
	}
	return keys, nil
}

// yamlLine finds the line in yaml's own errors.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parseConfig reads a YAML mapping of names to values. Its errors start with
// the number of the line.
func parseConfig(r io.Reader) ([]configKey, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(r)
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil // empty, or nothing but comments
	} else if err != nil {
		line := yamlLine.FindStringSubmatch(err.Error())
		if line == nil || line[1] == "" {
			line = []string{"", "1"}
		}
		return nil, fmt.Errorf("%s: not YAML: %s", line[1], yamlLine.ReplaceAllString(err.Error(), ""))
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%d: want keys and values, such as \"retention: 30d\"", root.Line)
	}
	var more yaml.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%d: only one YAML document is allowed", max(more.Line, 1))
	}
	return mappingKeys(root)
}

// mappingKeys reads the pairs of a YAML mapping.
func mappingKeys(root *yaml.Node) ([]configKey, error) {
	var keys []configKey
	var errs []error
	first := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		name, value := root.Content[i], root.Content[i+1]
		if line, ok := first[name.Value]; ok {
			errs = append(errs, fmt.Errorf("%d: key %q is given before, in line %d", name.Line, name.Value, line))
			continue
		}
		first[name.Value] = name.Line
		key := configKey{name: name.Value, line: name.Line, list: resolved(value).Kind == yaml.SequenceNode}
		var err error
		if key.values, err = scalars(resolved(value)); err != nil {
			errs = append(errs, fmt.Errorf("%d: key %q: %w", name.Line, name.Value, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(errs...)
}

// resolved follows a YAML alias.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// scalars returns the text of a value or of each value of a sequence.
func scalars(n *yaml.Node) ([]string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil, errors.New("has no value")
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, nil
	case n.Kind != yaml.SequenceNode:
		return nil, errors.New("takes a value or a list of values, not keys")
	}
	values := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		item = resolved(item)
		if item.Kind != yaml.ScalarNode {
			return nil, errors.New("takes a list of plain values")
		}
		values = append(values, item.Value)
	}
	return values, nil
}

// prefixEach writes the name of the file in front of every joined error.
func prefixEach(file string, err error) error {
	var errs []error
	for _, e := range flatten(err) {
		errs = append(errs, fmt.Errorf("%s:%w", file, e))
	}
	return errors.Join(errs...)
}

// flatten takes errors.Join apart.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // only the outermost is of interest
	if !ok {
		return []error{err}
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, flatten(e)...)
	}
	return errs
}
