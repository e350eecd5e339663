package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Kinds of values. They name the value in help output ("--data-dir DIR").
const (
	kindAddress  = "ADDR"
	kindBool     = "bool"
	kindBytes    = "SIZE"
	kindDir      = "DIR"
	kindDuration = "DURATION"
	kindFile     = "FILE"
	kindGlob     = "GLOB"
	kindNumber   = "N"
	kindText     = "TEXT"
	kindURL      = "URL"
)

// setting is a flag value that an environment variable or a configuration
// file can give as well.
type setting interface {
	String() string
	Set(string) error
	Type() string
	// check says what is wrong with values without storing them.
	check(values []string) error
	// replace stores values in place of everything before.
	replace(values []string) error
	// many says whether several values are allowed.
	many() bool
}

// single is a setting with one value.
type single[T any] struct {
	target *T
	kind   string
	parse  func(string) (T, error)
	format func(T) string
}

func (s *single[T]) String() string { return s.format(*s.target) }
func (s *single[T]) Type() string   { return s.kind }
func (s *single[T]) many() bool     { return false }

func (s *single[T]) Set(text string) error { return s.replace([]string{text}) }

func (s *single[T]) check(values []string) error {
	if len(values) != 1 {
		return fmt.Errorf("takes one value, not %d", len(values))
	}
	_, err := s.parse(values[0])
	return err
}

func (s *single[T]) replace(values []string) error {
	if err := s.check(values); err != nil {
		return err
	}
	v, err := s.parse(values[0])
	if err != nil {
		return err
	}
	*s.target = v
	return nil
}

// list is a setting that may be given several times.
type list struct {
	target *[]string
	kind   string
	parse  func(string) (string, error)
}

func (l *list) String() string { return strings.Join(*l.target, ",") }
func (l *list) Type() string   { return l.kind }
func (l *list) many() bool     { return true }

// Set appends, as the flag is given once for every value.
func (l *list) Set(text string) error {
	v, err := l.parse(text)
	if err != nil {
		return err
	}
	*l.target = append(*l.target, v)
	return nil
}

func (l *list) check(values []string) error {
	var errs []error
	for _, text := range values {
		_, err := l.parse(text)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *list) replace(values []string) error {
	if err := l.check(values); err != nil {
		return err
	}
	*l.target = nil
	for _, text := range values {
		if err := l.Set(text); err != nil {
			return err
		}
	}
	return nil
}

func textValue(target *string, kind string) setting {
	return &single[string]{target: target, kind: kind, parse: parserOf(kind), format: func(s string) string { return s }}
}

func listValue(target *[]string, kind string) setting {
	return &list{target: target, kind: kind, parse: parserOf(kind)}
}

// parserOf returns the parser of those kinds that stay text.
func parserOf(kind string) func(string) (string, error) {
	switch kind {
	case kindURL:
		return parseURL
	case kindAddress:
		return parseAddress
	default:
		return func(s string) (string, error) { return s, nil }
	}
}

func boolValue(target *bool) setting {
	return &single[bool]{target: target, kind: kindBool, parse: parseBool, format: strconv.FormatBool}
}

// durationValue takes durations of at least least.
func durationValue(target *time.Duration, least time.Duration) setting {
	return &single[time.Duration]{
		target: target, kind: kindDuration, format: formatDuration,
		parse: func(s string) (time.Duration, error) {
			d, err := model.ParseDuration(s)
			if err != nil {
				return 0, fmt.Errorf("%q is not a duration, such as 15d, 36h or 30s", s)
			}
			if time.Duration(d) < least {
				return 0, fmt.Errorf("%q is too short: the least is %s", s, formatDuration(least))
			}
			return time.Duration(d), nil
		},
	}
}

func bytesValue(target *int64) setting {
	return &single[int64]{target: target, kind: kindBytes, parse: parseBytes, format: formatBytes}
}

func numberValue(target *int) setting {
	return &single[int]{
		target: target, kind: kindNumber, format: strconv.Itoa,
		parse: func(s string) (int, error) {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				return 0, fmt.Errorf("%q is not a whole number of at least 1", s)
			}
			return n, nil
		},
	}
}

// enumValue takes one of choices.
func enumValue(target *string, choices ...string) setting {
	return &single[string]{
		target: target, kind: strings.Join(choices, "|"), parse: oneOf(choices), format: func(s string) string { return s },
	}
}

// choicesValue takes any of choices, several times.
func choicesValue(target *[]string, kind string, choices []string) setting {
	return &list{target: target, kind: kind, parse: oneOf(choices)}
}

func oneOf(choices []string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", fmt.Errorf("%q is not one of %s%s", s, strings.Join(choices, ", "), didYouMean(s, choices))
		}
		return s, nil
	}
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return b, nil
}

func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("%q is not a URL, such as https://host:7070", s)
	}
	return s, nil
}

func parseAddress(s string) (string, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok && path != "" {
		return s, nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not an address, such as 127.0.0.1:7070, [::1]:7070 or unix:/path", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > math.MaxUint16 {
		return "", fmt.Errorf("%q has no port between 0 and 65535, such as 127.0.0.1:7070", s)
	}
	return s, nil
}

// byteUnits are tried in this order: longer suffixes first.
var byteUnits = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"Ki", 1 << 10},
	{"Mi", 1 << 20},
	{"Gi", 1 << 30},
	{"Ti", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"k", 1e3},
	{"K", 1e3},
	{"M", 1e6},
	{"G", 1e9},
	{"T", 1e12},
	{"B", 1},
	{"", 1},
}

// parseBytes reads sizes as Kubernetes and people write them: 512Mi, 10GiB,
// 1.5GB, or a plain number of bytes.
func parseBytes(s string) (int64, error) {
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0 && n*unit.factor < math.MaxInt64) { // NaN fails both
			break
		}
		return int64(n * unit.factor), nil
	}
	return 0, fmt.Errorf("%q is not a size, such as 512MiB, 10GiB or 20GB", s)
}

// formatBytes writes n with the largest binary unit that divides it.
func formatBytes(n int64) string {
	if n == 0 {
		return "0"
	}
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		for _, u := range byteUnits {
			if u.suffix == unit && n%int64(u.factor) == 0 {
				return strconv.FormatInt(n/int64(u.factor), 10) + unit
			}
		}
	}
	return strconv.FormatInt(n, 10)
}

// formatDuration writes 0 as "0", which help output leaves out, and whole
// days as days also from two weeks on, where model.Duration prefers weeks.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0"
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	default:
		return model.Duration(d).String()
	}
}
