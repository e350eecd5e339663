package main

import (
	"regexp"
	"strconv"
)

var selectorCondition = regexp.MustCompile(`(\w+)(=~|!~|!=|=)("(?:[^"\\]|\\.)*")`)

// selectorHolds evaluates the stream selector of a query.
func selectorHolds(selector string, labels map[string]string) bool {
	for _, m := range selectorCondition.FindAllStringSubmatch(selector, -1) {
		value, err := strconv.Unquote(m[3])
		if err != nil {
			panic(err)
		}
		got := labels[m[1]]
		var holds bool
		switch m[2] {
		case "=":
			holds = got == value
		case "!=":
			holds = got != value
		case "=~":
			holds = regexp.MustCompile("^(?:" + value + ")$").MatchString(got)
		case "!~":
			holds = !regexp.MustCompile("^(?:" + value + ")$").MatchString(got)
		}
		if !holds {
			return false
		}
	}
	return true
}
