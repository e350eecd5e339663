package tail

import "time"

// minuteLen is the length of "2006-01-02T15:04".
const minuteLen = 16

// clock parses the RFC 3339 timestamps of container runtimes. It remembers
// the last minute, because neighbouring lines share it.
type clock struct {
	minute [minuteLen]byte
	base   int64 // nanoseconds since the Unix epoch of minute, as if it were UTC
}

// parse returns nanoseconds since the Unix epoch. The fraction has at most
// nine digits; the zone is "Z" or an offset, as CRI-O writes it.
func (c *clock) parse(b []byte) (int64, bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || b[16] != ':' {
		return 0, false
	}
	if string(b[:minuteLen]) != string(c.minute[:]) && !c.setMinute(b[:minuteLen]) {
		return 0, false
	}
	s1, s2 := b[17]-'0', b[18]-'0'
	if s1 > 6 || s2 > 9 {
		return 0, false
	}
	t := c.base + int64(s1*10+s2)*int64(time.Second)
	rest := b[19:]
	if rest[0] == '.' {
		frac, n := int64(0), 1
		for ; n < len(rest) && n <= 9 && rest[n]-'0' <= 9; n++ {
			frac = frac*10 + int64(rest[n]-'0')
		}
		if n == 1 {
			return 0, false
		}
		t += frac * pow10[10-n]
		rest = rest[n:]
	}
	if len(rest) == 1 && rest[0] == 'Z' {
		return t, true
	}
	zone, ok := parseZone(rest)
	return t - zone, ok
}

var pow10 = [...]int64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

func (c *clock) setMinute(b []byte) bool {
	t, err := time.Parse("2006-01-02T15:04", string(b))
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return false
	}
	c.base = t.UnixNano()
	copy(c.minute[:], b)
	return true
}

// parseZone parses "+02:00".
func parseZone(b []byte) (int64, bool) {
	if len(b) != 6 || b[3] != ':' || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	for _, i := range [...]int{1, 2, 4, 5} {
		if b[i]-'0' > 9 {
			return 0, false
		}
	}
	minutes := (int64(b[1]-'0')*10+int64(b[2]-'0'))*60 + int64(b[4]-'0')*10 + int64(b[5]-'0')
	if b[0] == '-' {
		minutes = -minutes
	}
	return minutes * int64(time.Minute), true
}
