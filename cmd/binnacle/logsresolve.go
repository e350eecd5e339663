package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxPrevious bounds the containers whose previous run one query names.
const maxPrevious = 200

// resolve turns the target and the flags into a selection.
func (s *logSettings) resolve(ctx context.Context, c *logClient, name string, w logWindow) (*selection, error) {
	sel, err := s.base()
	if err != nil {
		return nil, err
	}
	if s.selector != "" {
		if err := s.checkSelector(ctx, c); err != nil {
			return nil, err
		}
	}
	if name != "" {
		t, err := parseTarget(name)
		if err != nil {
			return nil, err
		}
		if err := s.addTarget(ctx, c, sel, t, w); err != nil {
			return nil, err
		}
	}
	if s.previous {
		return sel, c.addPrevious(ctx, sel)
	}
	return sel, nil
}

// checkSelector asks the server for its labels when some are not the agents'.
func (s *logSettings) checkSelector(ctx context.Context, c *logClient) error {
	labels, err := parseSelector(s.selector)
	if err != nil {
		return usagef("flag --selector: %w", err)
	}
	if checkLabels(labels, nil) == nil {
		return nil
	}
	params := url.Values{}
	logWindow{}.addTo(params)
	known, err := askList[string](ctx, c, "labels", params)
	if err != nil {
		return err
	}
	return checkLabels(labels, known)
}

// addTarget narrows the selection to a target.
func (s *logSettings) addTarget(ctx context.Context, c *logClient, sel *selection, t target, w logWindow) error {
	switch t.kind {
	case "file":
		return c.addFile(ctx, sel, t, w)
	case "pod":
		_, err := c.addExact(ctx, sel, equals(storage.LabelPod, t.name), w)
		return err
	case "":
		return c.addName(ctx, sel, t.name, w)
	default:
		sel.addWorkload(t)
		return nil
	}
}

// addExact adds a condition, and tells whether something meets it. A single
// container or file needs no name before its lines.
func (c *logClient) addExact(ctx context.Context, sel *selection, m labelMatcher, w logWindow) (bool, error) {
	sel.matchers = append(sel.matchers, m)
	series, err := c.series(ctx, sel, w)
	if err != nil {
		return false, err
	}
	names := map[string]bool{}
	for _, labels := range series {
		names[labels[storage.LabelNamespace]+"/"+labels[storage.LabelPod]+"/"+labels[storage.LabelContainer]+"/"+labels[storage.LabelFilename]] = true
	}
	sel.alone = len(names) == 1
	return len(names) > 0, nil
}

// addName is for a name that may be that of a pod, part of one, or a regular
// expression for pods, or else for files.
func (c *logClient) addName(ctx context.Context, sel *selection, name string, w logWindow) error {
	before := len(sel.matchers)
	if objectName.MatchString(name) {
		found, err := c.addExact(ctx, sel, equals(storage.LabelPod, name), w)
		if err != nil || found {
			return err
		}
		sel.matchers = sel.matchers[:before]
	}
	within := ".*(?:" + name + ").*"
	sel.matchers = append(sel.matchers, matches(storage.LabelPod, within))
	series, err := c.series(ctx, sel, w)
	if err != nil || len(series) > 0 {
		return err
	}
	files := &selection{matchers: append(slices.Clone(sel.matchers[:before]), matches(storage.LabelFilename, within))}
	if series, err = c.series(ctx, files, w); err != nil || len(series) == 0 {
		return err
	}
	sel.matchers = files.matchers
	return nil
}

// addFile is for the path of a file, or a regular expression for such.
func (c *logClient) addFile(ctx context.Context, sel *selection, t target, w logWindow) error {
	found, err := c.addExact(ctx, sel, equals(storage.LabelFilename, t.name), w)
	if err != nil || found {
		return err
	}
	if _, err := regexp.Compile(t.name); err != nil {
		return usagef("no file %q has lines, and it is no regular expression: %w", t.name, err)
	}
	sel.matchers[len(sel.matchers)-1] = matches(storage.LabelFilename, ".*(?:"+t.name+").*")
	return nil
}

// series lists the streams that the matchers of a selection select.
func (c *logClient) series(ctx context.Context, sel *selection, w logWindow) ([]map[string]string, error) {
	only := selection{matchers: sel.matchers}
	params := url.Values{"match[]": {only.expression(nil)}}
	w.addTo(params)
	return askList[map[string]string](ctx, c, "series", params)
}

// run is one run of a container.
type containerRun struct {
	namespace, pod, uid, container string
	restart                        int
}

// previousRuns returns for each container the run before its newest one.
func previousRuns(series []map[string]string) []containerRun {
	restarts := map[containerRun][]int{}
	for _, labels := range series {
		n, err := strconv.Atoi(labels[storage.LabelRestart])
		if err != nil {
			continue // no container
		}
		who := containerRun{
			labels[storage.LabelNamespace], labels[storage.LabelPod], labels[storage.LabelUID], labels[storage.LabelContainer], 0,
		}
		restarts[who] = append(restarts[who], n)
	}
	var runs []containerRun
	for who, numbers := range restarts {
		slices.Sort(numbers)
		numbers = slices.Compact(numbers)
		if len(numbers) > 1 {
			who.restart = numbers[len(numbers)-2]
			runs = append(runs, who)
		}
	}
	slices.SortFunc(runs, func(a, b containerRun) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.pod, b.pod), cmp.Compare(a.uid, b.uid), cmp.Compare(a.container, b.container))
	})
	return runs
}

// addPrevious narrows the selection to the run before the last of every
// container that it selects.
func (c *logClient) addPrevious(ctx context.Context, sel *selection) error {
	series, err := c.series(ctx, sel, logWindow{})
	if err != nil {
		return err
	}
	runs := previousRuns(series)
	switch {
	case len(runs) == 0:
		return fmt.Errorf("no earlier run is stored: none of %d streams is of a container that was started again", len(series))
	case len(runs) > maxPrevious:
		return usagef("--previous of %d containers is too much for one query: name a workload or pod, or give -n", len(runs))
	}
	parts := make([]string, len(runs))
	for i, r := range runs {
		conditions := []string{
			equals(storage.LabelNamespace, r.namespace).String(), equals(storage.LabelPod, r.pod).String(),
			equals(storage.LabelUID, r.uid).String(), equals(storage.LabelContainer, r.container).String(),
			equals(storage.LabelRestart, strconv.Itoa(r.restart)).String(),
		}
		parts[i] = "(" + strings.Join(conditions, " and ") + ")"
	}
	sel.filters = append(sel.filters, strings.Join(parts, " or "))
	return nil
}
