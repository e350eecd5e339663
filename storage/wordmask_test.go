package storage

import "testing"

// The bits mean what the table of classes does.
func FuzzLetterBits(f *testing.F) {
	f.Add([]byte("a_1 \x80Z[{`@/:09 "))
	f.Fuzz(func(t *testing.T, line []byte) {
		letters := letterBits(line)
		for i := range blockBytes {
			want := i < len(line) && line[i] < 0x80 && (byteClass[line[i]] == classLower || byteClass[line[i]] == classUpper)
			if got := letters>>i&1 != 0; got != want {
				t.Fatalf("byte %d of %q: letter %t", i, line, got)
			}
		}
	})
}
