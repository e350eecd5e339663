// Package ledger proves that a log pipeline keeps every line: it writes log
// files as container runtimes and the kubelet do, every line numbered, and
// checks what comes out at the other end against what it wrote.
//
// The text of an entry follows from its container, output stream, number and
// time, all of which stand in its first words: a checker needs no copy of what
// was written to compare every byte.
package ledger
