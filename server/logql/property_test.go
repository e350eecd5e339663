package logql

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// TestPrintParse prints random expressions and parses them to the same.
func TestPrintParse(t *testing.T) {
	for seed := range uint64(1000) {
		g := &generator{rand.New(rand.NewPCG(seed, 1))}
		var e Expr = g.log()
		if g.IntN(3) > 0 {
			e = g.metric(3)
		}
		parsed, err := Parse(e.String())
		require.NoError(t, err, "seed %d: %s", seed, e)
		require.Equal(t, e, parsed, "seed %d: %s", seed, e)
	}
}

// generator makes random expressions. Its matchers are no regular expressions,
// which cannot be compared.
type generator struct{ *rand.Rand }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func list[T any](g *generator, least, most int, make func() T) []T {
	var out []T
	for range least + g.IntN(most-least+1) {
		out = append(out, make())
	}
	return out
}

func (g *generator) name() string {
	return pick(g, "a", "b_c", "level", "__error__", "by", "json", "unpack", "x9")
}

func (g *generator) text() string {
	return pick(g, "", "x", "a \"quote\"", "back`tick", "line\nfeed", "ünï", "\x00\xff", `\d+`, "{{.a}}", "#")
}

func (g *generator) matcher() *labels.Matcher {
	return labels.MustNewMatcher(pick(g, labels.MatchEqual, labels.MatchNotEqual), g.name(), g.text())
}

func (g *generator) log() *LogExpr {
	return &LogExpr{Matchers: list(g, 0, 3, g.matcher), Stages: list(g, 0, 4, g.stage)}
}

func (g *generator) stage() Stage {
	switch g.IntN(13) {
	case 0, 1:
		return &LineFilter{pick(g, "|=", "!="), list(g, 1, 3, func() FilterPattern {
			if g.IntN(4) == 0 {
				return FilterPattern{"10.0.0.0/8", true}
			}
			return FilterPattern{Text: g.text()}
		})}
	case 2:
		return &LineFilter{pick(g, "|~", "!~", "|>"), []FilterPattern{{Text: pick(g, "a+", "x.*y")}}}
	case 3:
		return &JSONParser{list(g, 0, 2, func() Extraction { return Extraction{g.name(), pick(g, "a.b[0]", `["x y"]`, "q")} })}
	case 4:
		return &LogfmtParser{g.IntN(2) == 0, g.IntN(2) == 0, list(g, 0, 2, func() Extraction { return Extraction{g.name(), "k"} })}
	case 5:
		return &PatternParser{"<a> - <_> \"<b>\""}
	case 6:
		return &RegexpParser{`(?P<a>\d+)`}
	case 7:
		return pick[Stage](g, &UnpackParser{}, &Decolorize{})
	case 8:
		return &LineFormat{g.text()}
	case 9:
		return &LabelFormat{[]Assignment{{"n1", g.text(), false}, {"n2", g.name(), true}}}
	case 10:
		return &DropLabels{list(g, 1, 3, g.condition)}
	case 11:
		return &KeepLabels{list(g, 1, 3, g.condition)}
	default:
		return &LabelFilterStage{g.filter(3)}
	}
}

func (g *generator) condition() LabelCondition {
	if g.IntN(2) == 0 {
		return LabelCondition{Name: g.name()}
	}
	m := g.matcher()
	return LabelCondition{m.Name, m}
}

func (g *generator) filter(depth int) LabelFilter {
	switch g.IntN(5) {
	case 0:
		return &NumberFilter{g.name(), pick(g, "==", "!=", ">", ">=", "<", "<="), UnitNumber, pick(g, 0, -1.5, 1e9, 3)}
	case 1:
		return &NumberFilter{g.name(), ">", UnitDuration, float64(pick(g, -time.Second, 90*time.Minute, time.Microsecond, 36*time.Hour))}
	case 2:
		return &NumberFilter{g.name(), "<=", UnitBytes, float64(g.IntN(1 << 30))}
	case 3:
		if depth > 0 {
			return &BinaryFilter{g.IntN(2) == 0, g.filter(depth - 1), g.filter(depth - 1)}
		}
		return &IPFilter{g.name(), g.IntN(2) == 0, "10.0.0.1"}
	default:
		return &StringFilter{g.matcher()}
	}
}

func (g *generator) grouping() *Grouping {
	if g.IntN(2) == 0 {
		return nil
	}
	return &Grouping{g.IntN(2) == 0, list(g, 0, 3, g.name)}
}

func (g *generator) metric(depth int) MetricExpr {
	if depth == 0 {
		return g.rangeAgg()
	}
	switch g.IntN(6) {
	case 0:
		op := pick(g, "sum", "avg", "topk", "sort", "approx_topk", "stddev")
		e := &VectorAgg{Op: op, Expr: g.vector(depth - 1)}
		if takesCount(op) {
			e.Param = 1 + g.IntN(9)
		}
		if op != "sort" {
			e.Grouping = g.grouping()
		}
		return e
	case 1:
		e := &Binary{Op: pick(g, "+", "-", "*", "/", "%", "^", ">", "=="), Left: g.vector(depth - 1), Right: g.vector(depth - 1)}
		e.Bool = binaryOps[e.Op].compares && g.IntN(2) == 0
		e.Matching = pick(g, nil, &Matching{On: true, Labels: []string{"a"}}, &Matching{Labels: []string{"a", "b"}, Group: "left"},
			&Matching{On: true, Group: "right", Include: []string{"c", "by"}})
		return e
	case 2:
		return &Binary{Op: pick(g, "and", "or", "unless"), Left: g.vector(depth - 1), Right: g.vector(depth - 1)}
	case 3:
		return &Binary{Op: "*", Left: &Literal{pick(g, -2.5, 0, 1e21)}, Right: g.metric(depth - 1)}
	case 4:
		return &LabelReplace{g.metric(depth - 1), "dst", g.text(), g.text(), "(.*)"}
	default:
		return g.rangeAgg()
	}
}

// vector is a metric that is no number.
func (g *generator) vector(depth int) MetricExpr {
	for {
		if e := g.metric(depth); !isScalar(e) {
			return e
		}
	}
}

func (g *generator) rangeAgg() MetricExpr {
	if g.IntN(5) == 0 {
		return &Vector{pick(g, 1, -0.5)}
	}
	e := &RangeAgg{
		Op: pick(g, opRate, opCountOverTime, opAbsentOverTime), Log: g.log(),
		Range: pick(g, time.Minute, 90*time.Second, 24*time.Hour, 500*time.Millisecond), Offset: pick(g, 0, time.Hour, -time.Minute),
	}
	if g.IntN(2) == 0 {
		return e
	}
	e.Op = pick(g, opAvgOverTime, opQuantileOverTime, opLastOverTime)
	if e.Op == opQuantileOverTime {
		e.Param = pick(g, 0.99, 0, 1)
	}
	e.Unwrap = &Unwrap{g.name(), pick(g, "", "duration", "bytes"), list(g, 0, 2, func() LabelFilter { return g.filter(1) })}
	e.Grouping = g.grouping()
	return e
}

// TestSlide compares sliding windows with windows that are counted anew.
func TestSlide(t *testing.T) {
	op := cellOps[opCountOverTime]
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		g := newGrid(100+rnd.Int64N(1000), 1+rnd.Int64N(20), 1+rnd.Int64N(60))
		n := rangeNode{op: op, grid: g, ev: &evaluation{budget: &budget{opts: &Options{MaxSamples: 1000}}}}
		var times []int64
		for range 1 + rnd.IntN(40) {
			at := g.start + 1 + rnd.Int64N(200)
			times = append(times, at)
			require.NoError(t, n.add(rangeSample{time: at, value: 1}))
		}
		for i := range 10 {
			end := g.start + g.width + int64(i)*g.step
			var want int64
			for _, at := range times {
				if at > end-g.width && at <= end {
					want++
				}
			}
			var got cell
			if lo, hi := g.window(i); len(n.series) > 0 {
				got, _ = n.series[0].slide(&op, lo, hi)
			}
			require.Equal(t, want, got.n, "seed %d window %d", seed, i)
		}
	}
}
