package storage

// Level is the severity of a record. Higher is worse.
type Level uint8

// Levels in ascending order of severity.
const (
	LevelUnknown Level = iota
	LevelTrace
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelFatal
	levels
)

// Levels is the number of levels.
const Levels = int(levels)

var levelNames = [Levels]string{"", "trace", "debug", "info", "warn", "error", "fatal"}

// String returns the name that queries use, "" for LevelUnknown.
func (l Level) String() string {
	if int(l) >= Levels {
		return ""
	}
	return levelNames[l]
}

// ParseLevel returns the level of a name in its usual spellings, of any case:
// "warning" is LevelWarn, "critical" is LevelFatal. Other names are LevelUnknown.
func ParseLevel(name string) Level {
	return parseLevel([]byte(name))
}

// Severity returns the SeverityNumber of OpenTelemetry's log data model, 0 for
// LevelUnknown.
func (l Level) Severity() int32 {
	if l == LevelUnknown || int(l) >= Levels {
		return 0
	}
	return int32(l-1)*4 + 1
}

// LevelOfSeverity is the level of an OpenTelemetry SeverityNumber.
func LevelOfSeverity(n int32) Level {
	if n < 1 || n > 24 {
		return LevelUnknown
	}
	return Level((n-1)/4 + 1)
}
