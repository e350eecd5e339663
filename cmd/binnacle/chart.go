package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"
	"github.com/prometheus/common/model"
)

const (
	chartHeight = 15
	// chartSeries is the number of lines that can still be told apart.
	chartSeries = 8
	// chartMargin is what the value axis and the overhang of the last time
	// label take from the width of the terminal.
	chartMargin = 16
)

var (
	chartColors = []asciigraph.AnsiColor{
		asciigraph.DodgerBlue, asciigraph.Orange, asciigraph.LimeGreen, asciigraph.Red,
		asciigraph.MediumOrchid, asciigraph.Turquoise, asciigraph.Gold, asciigraph.HotPink,
	}
	// chartMarks tell lines apart where there are no colours.
	chartMarks = []string{"*", "+", "o", "x", "#", "@", "%", "="}
)

// chart draws series over time as text.
type chart struct {
	start, end time.Time
	step       time.Duration
	columns    int // width of the terminal
	colored    bool
	binary     bool // values are bytes
	zone       *time.Location
}

// plotColumns is the number of points that fit beside each other.
func plotColumns(columns int) int {
	return max(columns-chartMargin, 20)
}

// draw returns the chart and the number of series that it leaves out, those
// with the lowest peaks.
func (c *chart) draw(matrix model.Matrix) (text string, omitted int) {
	drawn := drawable(matrix)
	if len(drawn) == 0 {
		return "", len(matrix)
	}
	var metrics []model.Metric
	var data [][]float64
	for _, s := range drawn {
		metrics = append(metrics, s.Metric)
		data = append(data, c.resample(s.Values))
	}
	var b strings.Builder
	b.WriteString(asciigraph.PlotMany(data, c.options(data)...))
	b.WriteString("\n\n")
	apart, _ := splitLabels(metrics)
	for i, s := range drawn {
		fmt.Fprintf(&b, "%s %s  %s\n", c.mark(i, len(drawn)), seriesName(s.Metric, apart), c.summary(s.Values))
	}
	return b.String(), len(matrix) - len(drawn)
}

// drawable picks the series with the highest peaks, highest first; those
// without a finite value cannot be drawn.
func drawable(matrix model.Matrix) model.Matrix {
	var drawn model.Matrix
	for _, s := range matrix {
		if !math.IsInf(peak(s.Values), -1) {
			drawn = append(drawn, s)
		}
	}
	slices.SortStableFunc(drawn, func(a, b *model.SampleStream) int {
		switch pa, pb := peak(a.Values), peak(b.Values); {
		case pa > pb:
			return -1
		case pa < pb:
			return 1
		default:
			return strings.Compare(a.Metric.String(), b.Metric.String())
		}
	})
	return drawn[:min(len(drawn), chartSeries)]
}

// peak is the highest finite value, -Inf without any.
func peak(values []model.SamplePair) float64 {
	highest := math.Inf(-1)
	for _, v := range values {
		if f := float64(v.Value); !math.IsInf(f, 0) && f > highest { // NaN compares false
			highest = f
		}
	}
	return highest
}

// resample gives every column of the plot its value: the highest of the
// samples since the column before, or else the last one while it is not
// older than a step. NaN leaves a gap.
func (c *chart) resample(values []model.SamplePair) []float64 {
	columns := plotColumns(c.columns)
	start, span := c.start.UnixMilli(), c.end.Sub(c.start).Milliseconds()
	out := make([]float64, columns)
	next, last := 0, -1
	for i := range out {
		at := model.Time(start + span*int64(i)/int64(columns-1))
		out[i] = math.NaN()
		for ; next < len(values) && !values[next].Timestamp.After(at); next++ {
			last = next
			if f := float64(values[next].Value); !math.IsInf(f, 0) && (math.IsNaN(out[i]) || f > out[i]) {
				out[i] = f
			}
		}
		if math.IsNaN(out[i]) && last >= 0 && at.Sub(values[last].Timestamp) < c.step {
			if f := float64(values[last].Value); !math.IsInf(f, 0) {
				out[i] = f
			}
		}
	}
	return out
}

func (c *chart) options(data [][]float64) []asciigraph.Option {
	options := []asciigraph.Option{
		asciigraph.Height(chartHeight),
		asciigraph.YAxisValueFormatter(func(v float64) string { return shortNumber(v, c.binary) }),
		asciigraph.XAxisRange(float64(c.start.UnixMilli()), float64(c.end.UnixMilli())),
		asciigraph.XAxisTickCount(max(2, plotColumns(c.columns)/16)),
		asciigraph.XAxisValueFormatter(c.timeLabel),
	}
	options = append(options, flatBounds(data)...)
	if c.colored {
		return append(options, asciigraph.SeriesColors(chartColors[:len(data)]...))
	}
	if len(data) == 1 {
		return options
	}
	var marks []asciigraph.CharSet
	for i := range data {
		marks = append(marks, asciigraph.CreateCharSet(chartMarks[i]))
	}
	return append(options, asciigraph.SeriesChars(marks...))
}

// flatBounds gives lines that never change a scale to lie in.
func flatBounds(data [][]float64) []asciigraph.Option {
	low, high := math.Inf(1), math.Inf(-1)
	for _, series := range data {
		for _, v := range series {
			if !math.IsNaN(v) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	switch {
	case low < high:
		return nil
	case high > 0:
		return []asciigraph.Option{asciigraph.LowerBound(0)}
	case high < 0:
		return []asciigraph.Option{asciigraph.UpperBound(0)}
	default:
		return []asciigraph.Option{asciigraph.LowerBound(0), asciigraph.UpperBound(1)}
	}
}

// timeLabel writes a tick of the time axis (milliseconds) as precisely as
// the range asks for.
func (c *chart) timeLabel(ms float64) string {
	t := time.UnixMilli(int64(ms)).In(c.zone)
	switch span := c.end.Sub(c.start); {
	case span <= 15*time.Minute:
		return t.Format("15:04:05")
	case span <= 24*time.Hour:
		return t.Format("15:04")
	case span <= 7*24*time.Hour:
		return t.Format("Mon 15:04")
	default:
		return t.Format("2006-01-02")
	}
}

// mark is the legend's sample of line i.
func (c *chart) mark(i, lines int) string {
	switch {
	case c.colored:
		return chartColors[i].String() + "■" + ansiReset
	case lines == 1:
		return "─"
	default:
		return chartMarks[i]
	}
}

func (c *chart) summary(values []model.SamplePair) string {
	lowest := math.Inf(1)
	for _, v := range values {
		if f := float64(v.Value); !math.IsInf(f, 0) && f < lowest {
			lowest = f
		}
	}
	last := float64(values[len(values)-1].Value)
	return fmt.Sprintf("min %s  max %s  last %s",
		shortNumber(lowest, c.binary), shortNumber(peak(values), c.binary), shortNumber(last, c.binary))
}

// seriesName writes the labels that tell a series apart.
func seriesName(m model.Metric, apart []model.LabelName) string {
	own := model.Metric{}
	for _, name := range apart {
		if value, ok := m[name]; ok {
			own[name] = value
		}
	}
	return own.String()
}
