package logql

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// templateFuncs are the functions that Loki offers to templates, with their
// order of arguments. Those that make text longer are bounded, the ones that
// come with Go's templates too.
func templateFuncs(t *lineTemplate) template.FuncMap {
	funcs := template.FuncMap{
		tickFunc:        t.tick,
		"__line__":      func() string { return string(t.line) },
		"__timestamp__": func() time.Time { return time.Unix(0, t.view.time).UTC() },
	}
	for _, m := range []template.FuncMap{textFuncs, paddingFuncs, numberFuncs, timeFuncs, codecFuncs, regexpFuncs()} {
		maps.Copy(funcs, m)
	}
	return funcs
}

// bounded refuses a text that is too long.
func bounded(s string) (string, error) {
	if len(s) > maxTemplateBytes {
		return "", errTemplateBytes
	}
	return s, nil
}

var textFuncs = template.FuncMap{
	"ToLower": strings.ToLower, "lower": strings.ToLower,
	"ToUpper": strings.ToUpper, "upper": strings.ToUpper,
	"title": titleCase,
	"Trim":  strings.Trim, "TrimLeft": strings.TrimLeft, "TrimRight": strings.TrimRight,
	"TrimPrefix": strings.TrimPrefix, "TrimSuffix": strings.TrimSuffix, "TrimSpace": strings.TrimSpace,
	"trim":       strings.TrimSpace,
	"trimAll":    func(cut, s string) string { return strings.Trim(s, cut) },
	"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
	"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	"contains":   func(part, s string) bool { return strings.Contains(s, part) },
	"hasPrefix":  func(prefix, s string) bool { return strings.HasPrefix(s, prefix) },
	"hasSuffix":  func(suffix, s string) bool { return strings.HasSuffix(s, suffix) },
	"Replace":    replaceText,
	"replace":    func(old, replacement, s string) (string, error) { return replaceText(s, old, replacement, -1) },
	"trunc":      truncate,
	"substr":     substring,
	"default": func(fallback, v any) any {
		if isEmpty(v) {
			return fallback
		}
		return v
	},
	"print":    func(args ...any) (string, error) { return bounded(fmt.Sprint(args...)) },
	"println":  func(args ...any) (string, error) { return bounded(fmt.Sprintln(args...)) },
	"printf":   printText,
	"html":     func(v any) (string, error) { return bounded(html.EscapeString(fmt.Sprint(v))) },
	"js":       func(v any) (string, error) { return bounded(template.JSEscapeString(fmt.Sprint(v))) },
	"urlquery": func(v any) (string, error) { return bounded(url.QueryEscape(fmt.Sprint(v))) },
}

func isEmpty(v any) bool {
	return v == nil || v == "" || v == 0 || v == int64(0) || v == 0.0 || v == false
}

// wideVerb is a verb of a width or a precision that fmt would fill up.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

// printText is fmt.Sprintf without large widths.
func printText(format string, args ...any) (string, error) {
	if wideVerb.MatchString(format) {
		return "", fmt.Errorf("printf: a width above 999 in %q", format)
	}
	return bounded(fmt.Sprintf(format, args...))
}

func replaceText(s, old, replacement string, n int) (string, error) {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	if len(s)+count*(len(replacement)-len(old)) > maxTemplateBytes {
		return "", errTemplateBytes
	}
	return strings.Replace(s, old, replacement, n), nil
}

func titleCase(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		if start {
			b.WriteString(strings.ToUpper(string(r)))
		} else {
			b.WriteRune(r)
		}
		start = r == ' ' || r == '\t' || r == '\n' || r == '-'
	}
	return b.String()
}

// truncate keeps the first n bytes, or with a negative n the last.
func truncate(n int, s string) string {
	if n < 0 && len(s)+n > 0 {
		return s[len(s)+n:]
	}
	if n >= 0 && n < len(s) {
		return s[:n]
	}
	return s
}

// substring is s[start:end] with ends that are out of the text cut off.
func substring(start, end int, s string) string {
	start = max(start, 0)
	if end < 0 || end > len(s) {
		end = len(s)
	}
	if start > end {
		return ""
	}
	return s[start:end]
}

var paddingFuncs = template.FuncMap{
	"alignLeft":  func(n int, s string) (string, error) { return align(n, s, true) },
	"alignRight": func(n int, s string) (string, error) { return align(n, s, false) },
	"repeat": func(n int, s string) (string, error) {
		if n < 0 || len(s) > 0 && n > maxTemplateBytes/len(s) {
			return "", errTemplateBytes
		}
		return strings.Repeat(s, n), nil
	},
	"indent":  indent,
	"nindent": func(n int, s string) (string, error) { text, err := indent(n, s); return "\n" + text, err },
}

// align cuts or pads a text to n characters.
func align(n int, s string, left bool) (string, error) {
	if n < 0 || n > maxTemplateBytes {
		return "", errTemplateBytes
	}
	length := utf8.RuneCountInString(s)
	pad := strings.Repeat(" ", max(n-length, 0))
	switch {
	case length > n && left:
		return string([]rune(s)[:n]), nil
	case length > n:
		return string([]rune(s)[length-n:]), nil
	case left:
		return s + pad, nil
	default:
		return pad + s, nil
	}
}

func indent(n int, s string) (string, error) {
	if n < 0 || n > maxTemplateBytes || (strings.Count(s, "\n")+1)*n+len(s) > maxTemplateBytes {
		return "", errTemplateBytes
	}
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

var codecFuncs = template.FuncMap{
	"b64enc": func(s string) (string, error) { return bounded(base64.StdEncoding.EncodeToString([]byte(s))) },
	"b64dec": func(s string) string {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return err.Error()
		}
		return string(b)
	},
	"urlencode": func(s string) (string, error) { return bounded(url.QueryEscape(s)) },
	"urldecode": func(s string) string {
		if text, err := url.QueryUnescape(s); err == nil {
			return text
		}
		return s
	},
	"fromJson": func(s string) any {
		var v any
		if json.Unmarshal([]byte(s), &v) != nil {
			return nil
		}
		return v
	},
	"bytes": func(s string) (float64, error) { n, err := parseBytes(s); return float64(n), err },
}

// regexpFuncs remember the expressions that they compiled.
func regexpFuncs() template.FuncMap {
	compiled := map[string]*regexp.Regexp{}
	compile := func(text string) (*regexp.Regexp, error) {
		if re := compiled[text]; re != nil {
			return re, nil
		}
		re, err := regexp.Compile(text)
		if err == nil && len(compiled) < 100 {
			compiled[strings.Clone(text)] = re
		}
		return re, err
	}
	replace := func(text, s, replacement string, literal bool) (string, error) {
		re, err := compile(text)
		if err != nil {
			return "", err
		}
		// Each match, at most one more than bytes, can grow to the replacement
		// with the whole text for each of its groups.
		growth := len(replacement)
		if !literal {
			growth += strings.Count(replacement, "$") * len(s)
		}
		if growth > 0 && len(re.FindAllStringIndex(s, -1)) > maxTemplateBytes/growth {
			return "", errTemplateBytes
		}
		if literal {
			return bounded(re.ReplaceAllLiteralString(s, replacement))
		}
		return bounded(re.ReplaceAllString(s, replacement))
	}
	return template.FuncMap{
		"regexReplaceAll":        func(re, s, r string) (string, error) { return replace(re, s, r, false) },
		"regexReplaceAllLiteral": func(re, s, r string) (string, error) { return replace(re, s, r, true) },
		"count": func(text, s string) (int, error) {
			re, err := compile(text)
			if err != nil {
				return 0, err
			}
			return len(re.FindAllStringIndex(s, -1)), nil
		},
	}
}

var timeFuncs = template.FuncMap{
	"now":             time.Now,
	"date":            func(layout string, v any) string { return toTime(v).Format(layout) },
	"toDate":          func(layout, s string) time.Time { t, _ := time.ParseInLocation(layout, s, time.UTC); return t },
	"toDateInZone":    toDateInZone,
	"unixEpoch":       func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) },
	"unixEpochMillis": func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) },
	"unixEpochNanos":  func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) },
	"unixToTime":      unixToTime,
	"duration":        durationSeconds, "duration_seconds": durationSeconds,
	"humanizeBytes": func(v any) string { return humanize.Bytes(uint64(max(toFloat(v), 0))) },
}

func toDateInZone(layout, zone, s string) time.Time {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}
	}
	t, _ := time.ParseInLocation(layout, s, loc)
	return t
}

func durationSeconds(s string) (float64, error) {
	d, err := parseDuration(s)
	return d.Seconds(), err
}

func toTime(v any) time.Time {
	switch v := v.(type) {
	case time.Time:
		return v
	case *time.Time:
		return *v
	default:
		return time.Unix(int64(toFloat(v)), 0).UTC()
	}
}

// unixToTime reads seconds, ms, µs or ns, told apart by the number of digits,
// or days in five.
func unixToTime(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("unable to parse time '%s': %w", s, err)
	}
	switch len(s) {
	case 5:
		return time.Unix(n*86400, 0).UTC(), nil
	case 10:
		return time.Unix(n, 0).UTC(), nil
	case 13:
		return time.UnixMilli(n).UTC(), nil
	case 16:
		return time.UnixMicro(n).UTC(), nil
	case 19:
		return time.Unix(0, n).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("unable to parse time '%s': 5, 10, 13, 16 or 19 digits are needed", s)
}
