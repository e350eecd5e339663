package redact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the size of a file of rules.
const maxFile = 1 << 20

// Load reads rules from a YAML file and checks them:
//
//	builtin: true # the default; false leaves out the built-in rules
//	rules:
//	- name: session
//	  regexp: '(session=)[0-9a-f]{32}'
//	  replacement: '${1}[REDACTED]' # the default is [REDACTED] alone
//
// Every error names the file and line.
func Load(file string) (Options, error) {
	f, err := os.Open(file)
	if err != nil {
		return Options{}, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Options{}, err
	}
	if len(content) > maxFile {
		return Options{}, fmt.Errorf("%s is longer than %d bytes", file, maxFile)
	}
	o, err := parse(content)
	if err != nil {
		return Options{}, prefixed(file, err)
	}
	return o, nil
}

// prefixed writes the name of a file in front of each of the errors.
func prefixed(file string, err error) error {
	var errs []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			errs = append(errs, prefixed(file, e))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("%s:%w", file, err)
}

// mistake is an error at a line.
func mistake(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%d: "+format, append([]any{n.Line}, args...)...)
}

// parse returns all mistakes, joined.
func parse(content []byte) (Options, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if rest, ok := strings.CutPrefix(text, "line "); ok {
			return Options{}, errors.New(rest)
		}
		return Options{}, errors.New(" " + text)
	}
	o := Options{}
	if len(document.Content) == 0 {
		return o, nil
	}
	var errs []error
	var nodes []*yaml.Node
	errs = append(errs, each(document.Content[0], "the file", map[string]func(*yaml.Node) error{
		"builtin": func(n *yaml.Node) error {
			var on bool
			if err := n.Decode(&on); err != nil {
				return mistake(n, "builtin is true or false, not %q", n.Value)
			}
			o.NoBuiltin = !on
			return nil
		},
		"rules": func(n *yaml.Node) error {
			if n.Kind != yaml.SequenceNode {
				return mistake(n, "rules is a list of rules, each with name and regexp")
			}
			nodes = n.Content
			return nil
		},
	}))
	for _, n := range nodes {
		rule, err := parseRule(n)
		if err == nil {
			err = o.addRule(rule, n)
		}
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// addRule adds a rule that goes with those before.
func (o *Options) addRule(rule Rule, n *yaml.Node) error {
	more := *o
	more.Rules = append(slices.Clone(o.Rules), rule)
	if _, err := New(more); err != nil {
		return mistake(n, "%w", err)
	}
	*o = more
	return nil
}

func parseRule(n *yaml.Node) (Rule, error) {
	var rule Rule
	into := func(target *string) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			if n.Kind != yaml.ScalarNode {
				return mistake(n, "a text is needed")
			}
			*target = n.Value
			return nil
		}
	}
	err := each(n, "a rule", map[string]func(*yaml.Node) error{
		"name": into(&rule.Name), "regexp": into(&rule.Regexp), "replacement": into(&rule.Replacement),
	})
	if err == nil && (rule.Name == "" || rule.Regexp == "") {
		err = mistake(n, "a rule needs a name and a regexp")
	}
	return rule, err
}

// each hands the values of a mapping to the functions of their keys.
func each(n *yaml.Node, what string, keys map[string]func(*yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return mistake(n, "%s is a mapping with %s", what, names(keys))
	}
	var errs []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		use, ok := keys[key.Value]
		if !ok {
			errs = append(errs, mistake(key, "unknown key %q: %s has %s", key.Value, what, names(keys)))
			continue
		}
		errs = append(errs, use(value))
	}
	return errors.Join(errs...)
}

func names(keys map[string]func(*yaml.Node) error) string {
	all := make([]string, 0, len(keys))
	for key := range keys {
		all = append(all, key)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
