package storage

import "bytes"

// DetectLevel finds the severity of a log line.
func DetectLevel(line []byte) Level {
	for _, field := range bytes.FieldsFunc(line[:min(len(line), detectBytes)], func(r rune) bool {
		return r == ' ' || r == '\t' || r == '[' || r == ']' || r == '"' || r == '=' || r == ':' || r == ','
	}) {
		if l := parseLevel(field); l != LevelUnknown {
			return l
		}
	}
	return LevelUnknown
}

// detectBytes is how far into a line a level is looked for.
const detectBytes = 256

var levelSpellings = map[string]Level{
	"trace": LevelTrace, "trc": LevelTrace,
	"debug": LevelDebug, "dbg": LevelDebug,
	"info": LevelInfo, "inf": LevelInfo, "information": LevelInfo, "notice": LevelInfo,
	"warn": LevelWarn, "wrn": LevelWarn, "warning": LevelWarn,
	"error": LevelError, "err": LevelError, "eror": LevelError,
	"fatal": LevelFatal, "critical": LevelFatal, "crit": LevelFatal, "panic": LevelFatal, "emerg": LevelFatal, "alert": LevelFatal,
}

func parseLevel(name []byte) Level {
	return levelSpellings[string(bytes.ToLower(name))]
}
