package main

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Responses of the API, by query.
var instantAnswers = map[string]string{
	"vector": `{"resultType":"vector","result":[
		{"metric":{"__name__":"up","job":"cadvisor","instance":"a","node":"a"},"value":[1772366400,"1"]},
		{"metric":{"__name__":"up","job":"node-exporter","instance":"a"},"value":[1772366400,"0"]},
		{"metric":{"__name__":"up","job":"binnacle","instance":"a","node":"a"},"value":[1772366400,"1234567890.25"]}]}`,
	"one": `{"resultType":"vector","result":[
		{"metric":{"__name__":"node_load1","instance":"a","job":"node-exporter"},"value":[1772366400,"0.25"]}]}`,
	"bare":   `{"resultType":"vector","result":[{"metric":{},"value":[1772366400,"42"]}]}`,
	"scalar": `{"resultType":"scalar","result":[1772366400,"1.5"]}`,
	"string": `{"resultType":"string","result":[1772366400,"text"]}`,
	"empty":  `{"resultType":"vector","result":[]}`,
	"histogram": `{"resultType":"vector","result":[{"metric":{"job":"a"},"histogram":[1772366400,
		{"count":"3","sum":"4.5","buckets":[[0,"1","2","3"]]}]}]}`,
	"matrix": `{"resultType":"matrix","result":[
		{"metric":{"cpu":"0"},"values":[[1772366400,"1"],[1772366415,"2.5"]]},
		{"metric":{"cpu":"1"},"values":[[1772366400,"NaN"]]}]}`,
}

func TestInstantGolden(t *testing.T) {
	api := newFakeAPI(t, func(r request) (int, string) { return http.StatusOK, success(instantAnswers[r.query]) })
	for query := range instantAnswers {
		for _, format := range []string{formatTable, formatJSON, formatJSONL, formatRaw} {
			t.Run(query+"/"+format, func(t *testing.T) {
				got := execute(t, options{columns: 100}, "query", "instant", query, "-o", format, "--addr", api.URL, "--color=never")
				if format == formatJSON {
					require.Equal(t, success(instantAnswers[query])+"\n", got.stdout)
					return
				}
				requireGolden(t, "query/instant-"+query+"-"+format+".txt", got.golden())
			})
		}
	}
}

func TestInstantTime(t *testing.T) {
	api := newFakeAPI(t, always(http.StatusOK, success(instantAnswers["bare"])))
	for text, want := range map[string]string{
		"":                     "",
		"now":                  "1772366400",
		"-2h":                  "1772359200",
		"1772366400.5":         "1772366400.5",
		"2026-03-01T12:00:01Z": "1772366401",
	} {
		got := execute(t, options{}, "query", "instant", "x", "--addr", api.URL, "--time", text)
		require.Equal(t, exitOK, got.code, got.stderr)
		require.Equal(t, want, strings.Join(api.last().form["time"], ","), "%q", text)
	}
}

func TestWarningsAndInfos(t *testing.T) {
	api := newFakeAPI(t, always(http.StatusOK,
		`{"status":"success","data":`+instantAnswers["bare"]+`,"warnings":["one store is slow"],"infos":["rate() of a gauge"]}`))
	got := execute(t, options{}, "query", "instant", "x", "--addr", api.URL)
	require.Equal(t, "warning: one store is slow\ninfo: rate() of a gauge\n", got.stderr)
	require.Equal(t, "VALUE\n42\n", got.stdout)

	got = execute(t, options{}, "query", "instant", "x", "--addr", api.URL, "-q")
	require.Empty(t, got.stderr)
}

func TestColors(t *testing.T) {
	api := newFakeAPI(t, func(r request) (int, string) {
		if r.path == "/api/v1/query_range" {
			return http.StatusOK, success(wave(r))
		}
		return http.StatusOK, success(instantAnswers["vector"])
	})
	for _, c := range []struct {
		name    string
		options options
		flags   []string
		colored bool
	}{
		{"terminal", options{columns: 80}, nil, true},
		{"no terminal", options{}, nil, false},
		{"NO_COLOR", options{columns: 80, environ: []string{"NO_COLOR=1"}}, nil, false},
		{"always", options{}, []string{"--color=always"}, true},
		{"always in spite of NO_COLOR", options{environ: []string{"NO_COLOR=1"}}, []string{"--color=always"}, true},
		{"never", options{columns: 80}, []string{"--color=never"}, false},
		{"json", options{columns: 80}, []string{"-o", "json"}, false},
		{"raw", options{columns: 80}, []string{"-o", "raw", "--color=always"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, command := range []string{"instant", "range"} {
				args := append([]string{"query", command, "x", "--addr", api.URL}, c.flags...)
				got := execute(t, c.options, args...)
				require.Equal(t, exitOK, got.code, got.stderr)
				require.Equal(t, c.colored, strings.Contains(got.stdout, "\x1b["), got.stdout)
			}
		})
	}
}

// wave answers a range query with three series, one of which begins late and
// one of which has a gap.
func wave(r request) string {
	start, _ := strconv.ParseFloat(r.form["start"][0], 64)
	end, _ := strconv.ParseFloat(r.form["end"][0], 64)
	step, _ := strconv.ParseFloat(r.form["step"][0], 64)
	var series []string
	for i := range 3 {
		var points []string
		for at := start; at <= end; at += step {
			part := (at - start) / (end - start)
			if i == 1 && part < 0.5 || i == 2 && part > 0.3 && part < 0.6 {
				continue
			}
			value := float64(i+1) * (1 + math.Sin(part*2*math.Pi+float64(i)))
			points = append(points, fmt.Sprintf("[%f,%q]", at, strconv.FormatFloat(value, 'f', 3, 64)))
		}
		series = append(series, fmt.Sprintf(`{"metric":{"job":"wave","line":"%d"},"values":[%s]}`, i, strings.Join(points, ",")))
	}
	return `{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}`
}

func TestRangeGolden(t *testing.T) {
	answers := map[string]func(request) string{
		"wave":  wave,
		"empty": func(request) string { return `{"resultType":"matrix","result":[]}` },
		"flat_bytes": func(request) string {
			return `{"resultType":"matrix","result":[{"metric":{},"values":[[1772362800,"1073741824"],[1772364000,"1073741824"],[1772366400,"1073741824"]]}]}`
		},
		"nothing_to_draw": func(request) string {
			return `{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1772362800,"NaN"],[1772366400,"+Inf"]]}]}`
		},
		"many": func(request) string {
			var series []string
			for i := range 12 {
				series = append(series, fmt.Sprintf(`{"metric":{"line":"%d"},"values":[[1772362800,"%d"],[1772366400,"%d"]]}`, i, i, i))
			}
			return `{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}`
		},
	}
	api := newFakeAPI(t, func(r request) (int, string) { return http.StatusOK, success(answers[r.query](r)) })
	for query := range answers {
		t.Run(query, func(t *testing.T) {
			got := execute(t, options{columns: 100}, "query", "range", query, "--addr", api.URL, "--color=never")
			requireGolden(t, "query/range-"+query+"-chart.txt", got.golden())
			for line := range strings.Lines(got.stdout) {
				require.LessOrEqual(t, len([]rune(line)), 101)
			}
		})
	}
	t.Run("colours", func(t *testing.T) {
		got := execute(t, options{columns: 60}, "query", "range", "wave", "--addr", api.URL, "--since", "2d")
		requireGolden(t, "query/range-wave-chart-colors.txt", got.golden())
	})
	t.Run("table without a terminal", func(t *testing.T) {
		got := execute(t, options{}, "query", "range", "wave", "--addr", api.URL, "--since", "3m", "--step", "1m")
		requireGolden(t, "query/range-wave-table.txt", got.golden())
	})
	t.Run("chart without a terminal", func(t *testing.T) {
		got := execute(t, options{}, "query", "range", "flat_bytes", "--addr", api.URL, "-o", "chart")
		require.Contains(t, got.stdout, "1Gi ┼")
	})
}

func TestRangeParameters(t *testing.T) {
	api := newFakeAPI(t, always(http.StatusOK, success(`{"resultType":"matrix","result":[]}`)))
	for _, c := range []struct{ args, start, end, step string }{
		{"", "1772362800", "1772366400", "15"},
		{"--since 1d", "1772280000", "1772366400", "600"},
		{"--start -2h --end -1h --step 1m", "1772359200", "1772362800", "60"},
		{"--start 2026-03-01T11:59:00Z --step 500ms", "1772366340", "1772366400", "0.5"},
		{"--since 2y", "1709294400", "1772366400", "259200"},
	} {
		args := append([]string{"query", "range", "x", "--addr", api.URL}, strings.Fields(c.args)...)
		got := execute(t, options{}, args...)
		require.Equal(t, exitOK, got.code, got.stderr)
		form := api.last().form
		require.Equal(t, []string{c.start, c.end, c.step}, []string{form["start"][0], form["end"][0], form["step"][0]}, c.args)
	}
}

func TestNiceStep(t *testing.T) {
	require.Equal(t, time.Second, niceStep(time.Minute, 250))
	require.Equal(t, time.Minute, niceStep(time.Hour, 84))
	require.Equal(t, 2*24*time.Hour, niceStep(365*24*time.Hour, 200))
}

func TestSeriesAndLabels(t *testing.T) {
	series := success(`[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]`)
	api := newFakeAPI(t, func(r request) (int, string) {
		switch r.path {
		case "/api/v1/series":
			return http.StatusOK, series
		case "/api/v1/labels":
			return http.StatusOK, success(`["__name__","job"]`)
		default:
			return http.StatusOK, success(`["a","b"]`)
		}
	})
	for _, c := range []struct{ args, want string }{
		{"series up", "up{job=\"a\"}\nup{job=\"b\"}\n"},
		{"series up -o json", series + "\n"},
		{"series up -o jsonl", `{"__name__":"up","job":"a"}` + "\n" + `{"__name__":"up","job":"b"}` + "\n"},
		{"labels", "__name__\njob\n"},
		{"labels job", "a\nb\n"},
		{"labels job -o json --match up --match down", success(`["a","b"]`) + "\n"},
	} {
		got := execute(t, options{}, append(strings.Fields("query "+c.args), "--addr", api.URL)...)
		require.Equal(t, outcome{stdout: c.want}, got, c.args)
	}
	require.Equal(t, "/api/v1/label/job/values", api.last().path)
	require.Equal(t, []string{"up", "down"}, api.last().form["match[]"])
	require.Equal(t, []string{"1772362800"}, api.last().form["start"])
}
