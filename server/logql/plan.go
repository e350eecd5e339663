package logql

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// plan is what of a log query the store does and what is left to a pipeline.
type plan struct {
	matchers []*labels.Matcher
	lines    []*storage.LineMatcher
	levels   uint8
	// none says that no record can match.
	none     bool
	pipeline *pipeline
}

const allLevels = uint8(1<<storage.Levels - 1)

// newPlan moves to the store what is as good there: stream matchers, line
// filters up to the first stage that changes the line, conditions on the level
// up to the first stage that may change it.
func newPlan(e *LogExpr, needed needs) (*plan, error) {
	p := &plan{}
	mask := allLevels
	for _, m := range e.Matchers {
		if isLevel(m.Name) {
			mask &= levelMask(func(value string) bool { return m.Matches(value) })
			continue
		}
		p.matchers = append(p.matchers, m)
	}
	rest, mask, err := p.pushDown(e.Stages, mask)
	if err != nil {
		return nil, err
	}
	p.none = mask == 0
	if mask != allLevels {
		p.levels = mask
	}
	p.pipeline, err = newPipeline(rest, needed)
	return p, err
}

func (p *plan) pushDown(stages []Stage, mask uint8) (rest []Stage, levels uint8, err error) {
	var lineChanged, levelChanged bool
	for _, stage := range stages {
		switch s := stage.(type) {
		case *LineFilter:
			if m, err := lineMatcher(s); err != nil {
				return nil, 0, err
			} else if m != nil && !lineChanged {
				p.lines = append(p.lines, m)
				continue
			}
		case *LabelFilterStage:
			if !levelChanged && onlyLevel(s.Filter) {
				mask &= levelMask(func(value string) bool { return levelHolds(s.Filter, value) })
				continue
			}
		case *LineFormat, *Decolorize:
			lineChanged = true
		case *UnpackParser:
			lineChanged, levelChanged = true, true
		default:
			levelChanged = true
		}
		rest = append(rest, stage)
	}
	return rest, mask, nil
}

// lineMatcher is a line filter for the store, nil if it is of another kind.
func lineMatcher(f *LineFilter) (*storage.LineMatcher, error) {
	patterns := make([]storage.LinePattern, 0, len(f.Patterns))
	for _, p := range f.Patterns {
		if p.IP || f.Op[1] == '>' {
			return nil, nil
		}
		patterns = append(patterns, storage.LinePattern{Text: p.Text, Regexp: f.Op[1] == '~'})
	}
	return storage.NewLineMatcher(f.Op[0] == '!', patterns...)
}

func isLevel(name string) bool { return name == storage.LabelLevel || name == detectedLevel }

func levelMask(matches func(value string) bool) uint8 {
	var mask uint8
	for l := range storage.Levels {
		if matches(storage.Level(l).String()) {
			mask |= 1 << l
		}
	}
	return mask
}

// onlyLevel tells whether a filter depends on the level alone.
func onlyLevel(f LabelFilter) bool {
	switch f := f.(type) {
	case *StringFilter:
		return isLevel(f.Matcher.Name)
	case *BinaryFilter:
		return onlyLevel(f.Left) && onlyLevel(f.Right)
	}
	return false
}

func levelHolds(f LabelFilter, value string) bool {
	switch f := f.(type) {
	case *StringFilter:
		return f.Matcher.Matches(value)
	case *BinaryFilter:
		if f.Or {
			return levelHolds(f.Left, value) || levelHolds(f.Right, value)
		}
		return levelHolds(f.Left, value) && levelHolds(f.Right, value)
	}
	return false
}

// query is the store's part.
func (p *plan) query(start, end int64) storage.LogQuery {
	return storage.LogQuery{Matchers: p.matchers, Start: start, End: end, Lines: p.lines, Levels: p.levels}
}
