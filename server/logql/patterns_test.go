package logql

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPatterns(t *testing.T) {
	m := NewPatternMiner(10 * time.Second)
	users := []string{"ann", "bob", "eve"}
	for i := range 30 {
		at := int64(i) * second
		m.Add(at, fmt.Appendf(nil, "user %s logged in from 10.0.0.%d", users[i%3], i))
		m.Add(at, fmt.Appendf(nil, `level=info msg="request done" took=%dms path=/cart`, i))
		if i%10 == 0 {
			m.Add(at, []byte("panic: nil map"))
		}
	}
	m.Add(0, nil)
	got := m.Patterns()
	require.Equal(t, []LinePatternCount{
		{`level=info msg="request done" took=<_> path=/cart`, 30, map[int64]int64{0: 10, 10 * second: 10, 20 * second: 10}},
		{"user <_> logged in from <_>", 30, map[int64]int64{0: 10, 10 * second: 10, 20 * second: 10}},
		{"panic: nil map", 3, map[int64]int64{0: 1, 10 * second: 1, 20 * second: 1}},
	}, got)
}

func TestPatternsAreBounded(t *testing.T) {
	m := NewPatternMiner(time.Second)
	word := func(i int) string { return string([]rune{rune('a' + i%26), rune('a' + i/26%26), rune('a' + i/676%26)}) }
	for i := range 2000 {
		m.Add(int64(i)*second, []byte(word(i)+" is a word of its own"))
		m.Add(int64(i)*second, []byte("one that stays"))
	}
	got := m.Patterns()
	require.Len(t, got, maxPatterns)
	require.Equal(t, "one that stays", got[0].Pattern)
	require.Equal(t, int64(2000), got[0].Total)

	long := make([]byte, 1<<20)
	for i := range long {
		long[i] = "x "[i%2]
	}
	m = NewPatternMiner(time.Second)
	m.Add(0, long)
	require.Less(t, len(m.Patterns()[0].Pattern), maxPatternBytes)
}
