package logql

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
)

const (
	// maxTemplateBytes bounds what a template, or one function in it, returns.
	maxTemplateBytes = 1 << 20
	// maxTemplateLoops bounds the rounds of all range loops together.
	maxTemplateLoops = 10_000
)

var errTemplateBytes = fmt.Errorf("the result is longer than %d bytes", maxTemplateBytes)

// lineTemplate is a Go template over the labels of a record. It is bounded: in
// what it writes and in how often it loops. It is not for concurrent use.
type lineTemplate struct {
	template *template.Template
	// fields are the labels it reads; all when that cannot be known.
	fields []string
	all    bool

	// The state of one execution, read by functions.
	view  *view
	line  []byte
	loops int
	out   boundedBuffer
	data  map[string]string
	pairs []pair
	// constant is set when the template has no actions.
	constant bool
}

// boundedBuffer fails when more than maxTemplateBytes are written.
type boundedBuffer struct{ b []byte }

func (w *boundedBuffer) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > maxTemplateBytes {
		return 0, errTemplateBytes
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// newTemplate compiles a template and makes its loops count their rounds.
func newTemplate(text string) (*lineTemplate, error) {
	t := &lineTemplate{data: map[string]string{}}
	compiled, err := template.New("line").Option("missingkey=zero").Funcs(templateFuncs(t)).Parse(text)
	if err != nil {
		return nil, err
	}
	if len(compiled.Templates()) > 1 {
		return nil, errors.New("define, template and block are not supported")
	}
	if compiled.Tree == nil || compiled.Root == nil {
		t.constant = true
		return t, nil
	}
	// The round counter is parsed from text: nodes cannot be made otherwise.
	tick := template.Must(template.New("tick").Funcs(template.FuncMap{tickFunc: t.tick}).Parse("{{" + tickFunc + "}}"))
	w := templateWalk{tick: tick.Root.Nodes[0]}
	w.list(compiled.Root)
	if w.err != nil {
		return nil, w.err
	}
	t.template, t.fields, t.all = compiled, w.fields, w.all
	return t, nil
}

// tickFunc is the name under which templates call tick.
const tickFunc = "__tick__"

func (t *lineTemplate) tick() (string, error) {
	t.loops++
	if t.loops > maxTemplateLoops {
		return "", fmt.Errorf("more than %d rounds of range", maxTemplateLoops)
	}
	return "", nil
}

// templateLabels are the labels that a template reads.
func templateLabels(text string) (names []string, all bool) {
	t, err := newTemplate(text)
	if err != nil {
		return nil, true
	}
	return t.fields, t.all
}

// run executes the template. The result is valid until the next call.
func (t *lineTemplate) run(line []byte, v *view) ([]byte, error) {
	t.out.b = t.out.b[:0]
	if t.constant {
		return t.out.b, nil
	}
	t.view, t.line, t.loops = v, line, 0
	clear(t.data)
	if t.all {
		t.pairs = v.visible(t.pairs[:0])
		for _, p := range t.pairs {
			t.data[p.name] = p.value
		}
	}
	for _, name := range t.fields {
		if value, ok := v.get(name); ok {
			t.data[name] = value
		}
	}
	err := t.template.Execute(&t.out, t.data)
	return t.out.b, err
}

// templateWalk looks through the nodes of a template.
type templateWalk struct {
	tick   parse.Node
	fields []string
	all    bool
	err    error
}

func (w *templateWalk) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		w.node(n)
	}
}

func (w *templateWalk) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		w.pipe(n.Pipe)
	case *parse.IfNode:
		w.branch(&n.BranchNode)
	case *parse.WithNode:
		w.branch(&n.BranchNode)
	case *parse.RangeNode:
		w.branch(&n.BranchNode)
		n.List.Nodes = append([]parse.Node{w.tick}, n.List.Nodes...)
	case *parse.TemplateNode:
		w.err = errors.New("define, template and block are not supported")
	}
}

func (w *templateWalk) branch(b *parse.BranchNode) {
	w.pipe(b.Pipe)
	w.list(b.List)
	w.list(b.ElseList)
}

func (w *templateWalk) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			w.arg(arg)
		}
	}
}

// arg notes the label that an argument reads. Below with and range a field may
// be one of something else: reading a label too many does no harm.
func (w *templateWalk) arg(n parse.Node) {
	switch n := n.(type) {
	case *parse.FieldNode:
		w.fields = append(w.fields, n.Ident[0])
	case *parse.PipeNode:
		w.pipe(n)
	case *parse.ChainNode:
		w.arg(n.Node)
	case *parse.DotNode:
		w.all = true
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			w.fields = append(w.fields, n.Ident[1])
		} else if n.Ident[0] == "$" {
			w.all = true
		}
	case *parse.IdentifierNode:
		w.all = w.all || n.Ident == "index"
	}
}

// lineFormatStep replaces the line.
type lineFormatStep struct{ template *lineTemplate }

func (s *lineFormatStep) run(line []byte, v *view) ([]byte, bool) {
	out, err := s.template.run(line, v)
	if err != nil {
		v.setError(errTemplate, trimTemplateError(err))
		return line, true
	}
	return out, true
}

func trimTemplateError(err error) string { return strings.TrimPrefix(err.Error(), "template: ") }

// labelFormatStep sets and renames labels.
type labelFormatStep struct {
	formats   []Assignment
	templates []*lineTemplate
}

func newLabelFormatStep(s *LabelFormat) (step, error) {
	out := &labelFormatStep{formats: s.Formats, templates: make([]*lineTemplate, len(s.Formats))}
	for i, f := range s.Formats {
		if f.Rename {
			continue
		}
		t, err := newTemplate(f.Value)
		if err != nil {
			return nil, err
		}
		out.templates[i] = t
	}
	return out, nil
}

func (s *labelFormatStep) run(line []byte, v *view) ([]byte, bool) {
	for i, f := range s.formats {
		if f.Rename {
			if value, ok := v.get(f.Value); ok && f.Value != f.Name {
				v.set(f.Name, value)
				v.remove(f.Value)
			}
			continue
		}
		out, err := s.templates[i].run(line, v)
		if err != nil {
			v.setError(errTemplate, trimTemplateError(err))
			continue
		}
		v.set(f.Name, v.keep(out))
	}
	return line, true
}
