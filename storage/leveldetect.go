package storage

import "bytes"

const (
	// detectBytes is how far into a line of text a level is looked for: it is
	// among the first words, what follows is the message.
	detectBytes = 128
	// detectJSONBytes is how far into a JSON object its keys are looked at.
	detectJSONBytes = 4096
)

// DetectLevel finds the severity that a log line states, in the formats that
// are in use: level=error (logfmt), "level":"error", "severity":"ERROR" or
// "level":50 (JSON), [ERROR], <Error>, ERROR:, a word in capitals or between
// tabs among the first ones, E0102 15:04:05 (klog), <3> (syslog). Words of a
// message are not taken for a level: "no error found", errors=0. It does not
// allocate.
func DetectLevel(line []byte) Level {
	line = trimLevelSpace(line)
	if len(line) < 3 {
		return LevelUnknown
	}
	switch line[0] {
	case '{':
		return jsonLevel(line[1:min(len(line), detectJSONBytes)])
	case '<':
		if l, ok := syslogPrefix(line); ok {
			return l
		}
	case 'I', 'W', 'E', 'F':
		if l, ok := klogLevel(line); ok {
			return l
		}
	}
	return textLevel(line[:min(len(line), detectBytes)])
}

func trimLevelSpace(line []byte) []byte {
	for len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		line = line[1:]
	}
	return line
}

// syslogPrefix is the priority of RFC 5424, as containers and the kernel
// print it: <facility*8+severity>.
func syslogPrefix(line []byte) (Level, bool) {
	n := 0
	for i := 1; i < len(line) && i < 5; i++ {
		c := line[i]
		if c == '>' && i > 1 {
			return syslogLevels[n&7], n < 192
		}
		if c-'0' > 9 {
			break
		}
		n = n*10 + int(c-'0')
	}
	return LevelUnknown, false
}

var syslogLevels = [8]Level{
	LevelFatal, LevelFatal, LevelFatal, LevelError, LevelWarn, LevelInfo, LevelInfo, LevelDebug,
}

// klogLevel is that of "E0102 15:04:05.678901 …", of Kubernetes and glog.
func klogLevel(line []byte) (Level, bool) {
	if len(line) < 9 || line[5] != ' ' || line[8] != ':' && line[8]-'0' > 9 {
		return LevelUnknown, false
	}
	for _, c := range line[1:5] {
		if c-'0' > 9 {
			return LevelUnknown, false
		}
	}
	switch line[0] {
	case 'I':
		return LevelInfo, true
	case 'W':
		return LevelWarn, true
	case 'E':
		return LevelError, true
	}
	return LevelFatal, true
}

// jsonLevel looks at the keys of an object from behind its brace, not at those
// of objects within it.
func jsonLevel(b []byte) Level {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := jsonStringEnd(b, i+1)
			if end < 0 {
				return LevelUnknown
			}
			key := b[i+1 : end]
			i = end + 1
			if depth != 0 {
				continue
			}
			value, ok := afterColon(b[i:])
			if ok && isLevelKey(key) {
				if l := jsonLevelValue(value); l != LevelUnknown {
					return l
				}
			}
			if ok {
				i += skipJSONString(value, len(b[i:])-len(value))
			}
			continue
		}
		i++
	}
	return LevelUnknown
}

// skipJSONString returns where to go on behind a value: at is where it
// begins, and it is passed over at once if it is a string.
func skipJSONString(value []byte, at int) int {
	if len(value) > 0 && value[0] == '"' {
		if end := jsonStringEnd(value, 1); end >= 0 {
			return at + end + 1
		}
		return at + len(value)
	}
	return at
}

// jsonStringEnd returns the index of the quote that ends the string whose text
// begins at from, -1 without one.
func jsonStringEnd(b []byte, from int) int {
	for i := from; ; i++ {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return -1
		}
		i += j
		escapes := 0
		for i-escapes > from && b[i-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// afterColon returns what follows a colon and spaces around it.
func afterColon(b []byte) ([]byte, bool) {
	b = trimLevelSpace(b)
	if len(b) == 0 || b[0] != ':' {
		return nil, false
	}
	return trimLevelSpace(b[1:]), true
}

// isLevelKey knows the names under which programs state a level.
func isLevelKey(key []byte) bool {
	switch len(key) {
	case 1:
		return key[0] == 's' // MongoDB
	case 2:
		return string(key) == "@l" // Serilog
	case 3:
		return string(key) == "lvl" || string(key) == "sev"
	case 5:
		return equalFold(key, "level")
	case 8:
		return equalFold(key, "severity") || equalFold(key, "loglevel") || equalFold(key, "priority")
	case 9:
		return string(key) == "log.level" || string(key) == "log_level" || string(key) == "levelname" || string(key) == "@severity"
	case 12:
		return equalFold(key, "severitytext")
	case 13:
		return string(key) == "severity_text"
	}
	return false
}

// jsonLevelValue is a name in quotes, or a number.
func jsonLevelValue(value []byte) Level {
	if len(value) == 0 {
		return LevelUnknown
	}
	if value[0] != '"' {
		return numberLevel(value)
	}
	value = value[1:]
	if end := wordEnd(value); end > 0 && end < len(value) && value[end] == '"' {
		if end == 1 {
			return letterLevel(value[0])
		}
		return parseLevel(value[:end])
	}
	return numberLevel(value)
}

// letterLevel is the severity of MongoDB.
func letterLevel(c byte) Level {
	switch c {
	case 'F':
		return LevelFatal
	case 'E':
		return LevelError
	case 'W':
		return LevelWarn
	case 'I':
		return LevelInfo
	case 'D':
		return LevelDebug
	}
	return LevelUnknown
}

// numberLevel is one of pino and bunyan, from 10 to 60, or one of syslog.
func numberLevel(b []byte) Level {
	n, i := 0, 0
	for ; i < len(b) && i < 3 && b[i]-'0' <= 9; i++ {
		n = n*10 + int(b[i]-'0')
	}
	if i == 0 || i < len(b) && (isWordByte(b[i]) || b[i] == '.') {
		return LevelUnknown
	}
	switch {
	case n < len(syslogLevels):
		return syslogLevels[n]
	case n >= 10 && n < 70 && n%10 == 0:
		return Level(n / 10)
	}
	return LevelUnknown
}

// equalFold compares with a lower-case ASCII name of at least two letters.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) || b[1]|0x20 != lower[1] { // few begin with the same two
		return false
	}
	for i, c := range b {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// parseLevel returns the level of a name in any case.
func parseLevel(name []byte) Level {
	switch len(name) {
	case 3:
		return parseShortLevel(name)
	case 4:
		switch {
		case equalFold(name, "info"), equalFold(name, "note"):
			return LevelInfo
		case equalFold(name, "warn"):
			return LevelWarn
		case equalFold(name, "fail"), equalFold(name, "eror"):
			return LevelError
		case equalFold(name, "crit"):
			return LevelFatal
		case equalFold(name, "dbug"):
			return LevelDebug
		case equalFold(name, "trce"):
			return LevelTrace
		}
	case 5:
		switch {
		case equalFold(name, "error"):
			return LevelError
		case equalFold(name, "debug"):
			return LevelDebug
		case equalFold(name, "trace"):
			return LevelTrace
		case equalFold(name, "fatal"), equalFold(name, "panic"), equalFold(name, "alert"), equalFold(name, "emerg"):
			return LevelFatal
		}
	default:
		return parseLongLevel(name)
	}
	return LevelUnknown
}

// parseShortLevel knows the abbreviations of zerolog and Serilog.
func parseShortLevel(name []byte) Level {
	switch {
	case equalFold(name, "inf"):
		return LevelInfo
	case equalFold(name, "wrn"):
		return LevelWarn
	case equalFold(name, "err"):
		return LevelError
	case equalFold(name, "dbg"):
		return LevelDebug
	case equalFold(name, "trc"), equalFold(name, "vrb"):
		return LevelTrace
	case equalFold(name, "ftl"), equalFold(name, "pnc"):
		return LevelFatal
	}
	return LevelUnknown
}

func parseLongLevel(name []byte) Level {
	switch {
	case equalFold(name, "warning"):
		return LevelWarn
	case equalFold(name, "notice"), equalFold(name, "information"), equalFold(name, "informational"):
		return LevelInfo
	case equalFold(name, "severe"):
		return LevelError
	case equalFold(name, "critical"), equalFold(name, "emergency"), equalFold(name, "dpanic"):
		return LevelFatal
	case equalFold(name, "verbose"), equalFold(name, "finest"):
		return LevelTrace
	}
	return LevelUnknown
}
