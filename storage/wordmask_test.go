package storage

import "testing"

// The bits mean what the table of classes does.
func FuzzWordBits(f *testing.F) {
	f.Add([]byte("a_1 \x80Z[{`@/:09 "))
	f.Fuzz(func(t *testing.T, line []byte) {
		words := wordBits(line)
		for i := range blockBytes {
			want := i < len(line) && byteClass[line[i]] != classOther
			if got := words>>i&1 != 0; got != want {
				t.Fatalf("byte %d of %q: word %t", i, line, got)
			}
		}
	})
}
