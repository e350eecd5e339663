package main

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// completionTimeout bounds how long a shell waits for the server.
	completionTimeout = 3 * time.Second
	// completionWindow is how far back names are looked for when the command
	// line does not say.
	completionWindow = 24 * time.Hour
)

// addCompletion completes flags and the argument that names a pod or workload,
// which comes after so many others, from what the server has.
func (s *logSettings) addCompletion(p *process, cmd *cobra.Command, others int) {
	values := func(label string) cobra.CompletionFunc {
		return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return s.completions(cmd, p, func(ctx context.Context, c *logClient, w logWindow) ([]string, error) {
				return c.labelValues(ctx, label, s.completionScope(label), w)
			})
		}
	}
	for flag, label := range map[string]string{
		"namespace": storage.LabelNamespace, "container": storage.LabelContainer, "node": storage.LabelNode,
	} {
		// It only fails for a flag that is not there.
		_ = cmd.RegisterFlagCompletionFunc(flag, values(label))
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) != others {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return s.completions(cmd, p, func(ctx context.Context, c *logClient, w logWindow) ([]string, error) {
			pods, err := c.labelValues(ctx, storage.LabelPod, s.completionScope(storage.LabelPod), w)
			return targetNames(pods), err
		})
	}
}

// completions asks the server for names. Without an answer there are none:
// a shell has no place for errors.
func (s *logSettings) completions(cmd *cobra.Command, p *process, ask func(context.Context, *logClient, logWindow) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	// Completion does not run what the command does first.
	if err := p.applyEnvironment(cmd.Flags()); err != nil {
		return nil, none
	}
	if !cmd.Flags().Changed("since") {
		s.since = completionWindow
	}
	w, err := s.window(p.now())
	if err != nil {
		return nil, none
	}
	c, err := newLogClient(p, s.clientSettings)
	if err != nil {
		return nil, none
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	names, err := ask(ctx, c, w)
	if err != nil {
		return nil, none
	}
	return names, none
}

// completionScope is the selector within which names are completed: what the
// other flags say.
func (s *logSettings) completionScope(label string) *selection {
	scope := &selection{}
	if names := s.namespaceList(); len(names) > 0 && label != storage.LabelNamespace {
		scope.matchers = append(scope.matchers, oneOfValues(storage.LabelNamespace, names))
	}
	if len(s.nodes) > 0 && label != storage.LabelNode {
		scope.matchers = append(scope.matchers, oneOfValues(storage.LabelNode, s.nodes))
	}
	return scope
}

// labelValues lists the values of a label in a selection.
func (c *logClient) labelValues(ctx context.Context, label string, scope *selection, w logWindow) ([]string, error) {
	params := url.Values{}
	if len(scope.matchers) > 0 {
		params.Set("query", scope.expression(nil))
	}
	w.addTo(params)
	return askList[string](ctx, c, "label/"+label+"/values", params)
}

// targetNames are pods and the workloads that their names look like.
func targetNames(pods []string) []string {
	var names []string
	for _, pod := range pods {
		if w := workloadOf(pod); w != "" {
			names = append(names, w)
		}
		if strings.TrimSpace(pod) != "" {
			names = append(names, pod)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
