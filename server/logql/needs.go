package logql

import (
	"maps"
	"strings"
)

// needs says which labels the later stages and the result of a query use, so
// that parsers leave out the others.
type needs struct {
	all bool
	// names includes, for x_extracted, x.
	names map[string]bool
}

var needAll = needs{all: true}

func needNames(names ...string) needs {
	n := needs{names: map[string]bool{}}
	n.add(names...)
	return n
}

func (n *needs) add(names ...string) {
	for _, name := range names {
		n.names[name] = true
		if trimmed, ok := strings.CutSuffix(name, extractedSuffix); ok {
			n.names[trimmed] = true
		}
	}
}

func (n needs) nothing() bool { return !n.all && len(n.names) == 0 }

// wants tells whether a label of this name is used.
func (n needs) wants(name string) bool { return n.all || n.names[name] }

// wantsErrors tells whether it matters that a line cannot be parsed.
func (n needs) wantsErrors() bool {
	return n.all || n.names[errorLabel] || n.names[errorDetailsLabel]
}

// wantsPrefix tells whether a label whose name begins so may be used.
func (n needs) wantsPrefix(prefix string) bool {
	if n.all {
		return true
	}
	for name := range n.names {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// stageNeeds returns for each stage what is needed after it.
func stageNeeds(stages []Stage, result needs) []needs {
	hints := make([]needs, len(stages))
	current := needs{all: result.all, names: maps.Clone(result.names)}
	for i := len(stages) - 1; i >= 0; i-- {
		hints[i] = needs{all: current.all, names: maps.Clone(current.names)}
		used, all := usedLabels(stages[i])
		switch {
		case all:
			current = needAll
		case !current.all:
			current.add(used...)
		}
	}
	return hints
}

// usedLabels are the labels that a stage reads; all when that cannot be known.
func usedLabels(stage Stage) (names []string, all bool) {
	switch s := stage.(type) {
	case *LabelFilterStage:
		return filterLabels(s.Filter), false
	case *LineFormat:
		return templateLabels(s.Template)
	case *LabelFormat:
		for _, f := range s.Formats {
			if f.Rename {
				names = append(names, f.Value)
				continue
			}
			used, all := templateLabels(f.Value)
			if all {
				return nil, true
			}
			names = append(names, used...)
		}
	case *DropLabels:
		return conditionLabels(s.Labels), false
	case *KeepLabels:
		return conditionLabels(s.Labels), false
	}
	return names, false
}

func conditionLabels(list []LabelCondition) []string {
	var names []string
	for _, c := range list {
		if c.Matcher != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

func filterLabels(f LabelFilter) []string {
	switch f := f.(type) {
	case *StringFilter:
		return []string{f.Matcher.Name}
	case *NumberFilter:
		return []string{f.Name}
	case *IPFilter:
		return []string{f.Name}
	case *BinaryFilter:
		return append(filterLabels(f.Left), filterLabels(f.Right)...)
	}
	return nil
}
