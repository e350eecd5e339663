package logql

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"
)

var errDivision = errors.New("division by zero")

var numberFuncs = template.FuncMap{
	"int":     func(v any) int { return int(toInt(v)) },
	"float64": toFloat,
	"add":     func(v ...any) int64 { return foldInt(v, func(a, b int64) int64 { return a + b }) },
	"sub":     func(a, b any) int64 { return toInt(a) - toInt(b) },
	"mul":     func(v ...any) int64 { return foldInt(v, func(a, b int64) int64 { return a * b }) },
	"div":     func(a, b any) (int64, error) { return divide(toInt(a), toInt(b), false) },
	"mod":     func(a, b any) (int64, error) { return divide(toInt(a), toInt(b), true) },
	"addf":    func(v ...any) float64 { return foldFloat(v, func(a, b float64) float64 { return a + b }) },
	"subf":    func(v ...any) float64 { return foldFloat(v, func(a, b float64) float64 { return a - b }) },
	"mulf":    func(v ...any) float64 { return foldFloat(v, func(a, b float64) float64 { return a * b }) },
	"divf":    func(v ...any) float64 { return foldFloat(v, func(a, b float64) float64 { return a / b }) },
	"max":     func(v ...any) int64 { return foldInt(v, func(a, b int64) int64 { return max(a, b) }) },
	"min":     func(v ...any) int64 { return foldInt(v, func(a, b int64) int64 { return min(a, b) }) },
	"maxf":    func(v ...any) float64 { return foldFloat(v, math.Max) },
	"minf":    func(v ...any) float64 { return foldFloat(v, math.Min) },
	"ceil":    func(v any) float64 { return math.Ceil(toFloat(v)) },
	"floor":   func(v any) float64 { return math.Floor(toFloat(v)) },
	"round":   roundTo,
}

func divide(a, b int64, rest bool) (int64, error) {
	switch {
	case b == 0:
		return 0, errDivision
	case rest:
		return a % b, nil
	}
	return a / b, nil
}

// roundTo rounds half up to a number of decimals.
func roundTo(v any, decimals int) float64 {
	scale := math.Pow(10, float64(decimals))
	return math.Floor(toFloat(v)*scale+0.5) / scale
}

func foldInt(values []any, op func(a, b int64) int64) int64 { return fold(values, toInt, op) }

func foldFloat(values []any, op func(a, b float64) float64) float64 { return fold(values, toFloat, op) }

func fold[T any](values []any, number func(any) T, op func(a, b T) T) T {
	var result T
	for i, v := range values {
		if i == 0 {
			result = number(v)
			continue
		}
		result = op(result, number(v))
	}
	return result
}

// toInt reads a number of any type or a text; what is none is 0.
func toInt(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int64:
		return v
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 0, 64); err == nil {
			return n
		}
	}
	return int64(toFloat(v))
}

// toFloat reads a number of any type or a text; what is none is 0.
func toFloat(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case bool:
		if v {
			return 1
		}
		return 0
	case nil:
		return 0
	default:
		n, _ := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(v)), 64)
		return n
	}
}
