package alert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// ruleParser reads the expressions of rules: PromQL without experiments.
var ruleParser = parser.NewParser(parser.Options{})

// ruleFiles are the parsed rule files of one moment.
type ruleFiles struct {
	names  []string // sorted
	groups map[string]*rulefmt.RuleGroups
	// unmatched are the patterns that no file matches.
	unmatched []string
}

// loadRules finds and parses the rule files. The error names each fault of
// each file, with its line.
func (o Options) loadRules() (*ruleFiles, error) {
	files := &ruleFiles{groups: make(map[string]*rulefmt.RuleGroups)}
	var faults []error
	for _, glob := range o.RuleGlobs {
		found, err := filepath.Glob(glob)
		if err != nil {
			faults = append(faults, fmt.Errorf("pattern of rule files %q: %w", glob, err))
			continue
		}
		if len(found) == 0 && !strings.ContainsAny(glob, `*?[\`) {
			faults = append(faults, fmt.Errorf("rule file %s: %w", glob, os.ErrNotExist))
			continue
		}
		if len(found) == 0 {
			files.unmatched = append(files.unmatched, glob)
		}
		files.names = append(files.names, found...)
	}
	slices.Sort(files.names)
	files.names = slices.Compact(files.names)
	for _, name := range files.names {
		groups, errs := rulefmt.ParseFile(name, false, model.UTF8Validation, ruleParser, o.logger())
		for _, err := range errs {
			faults = append(faults, fmt.Errorf("rule file %w", err))
		}
		files.groups[name] = groups
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return files, nil
}

// loader hands upstream's rule manager the files that have been checked: what
// changes on disk in between waits for the next reload. Upstream calls it
// within Update, when the Manager's mutex is held.
type loader struct{ manager *Manager }

// Load returns a file of the set to put in force.
func (l loader) Load(name string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return l.manager.files.groups[name], nil
}

// Parse parses one expression.
func (l loader) Parse(query string) (parser.Expr, error) { return ruleParser.ParseExpr(query) }
