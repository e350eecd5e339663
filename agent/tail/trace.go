package tail

import "bytes"

// traceState is what may follow within a stack trace. The zero state is
// outside of one. A trace is recognized by the lines themselves, as Google's
// fluent-plugin-detect-exceptions does it, never by time: the same file gives
// the same records whenever it is read.
type traceState uint8

const (
	noTrace traceState = iota
	// traceFrames follows an exception of Java, Node.js, .NET or Ruby.
	traceFrames
	// traceRails follows "NoMethodError (undefined method …):", which Rails
	// separates from its frames by blank lines.
	traceRails
	// traceProperties are those of an error of Node.js, in braces.
	traceProperties
	pythonFrames
	pythonEnd
	pythonBlank
	pythonChained
	goPanic
	goFrames
	goBlank
)

const pythonTraceback = "Traceback (most recent call last):"

// traceStart returns the state after line where line begins a stack trace,
// else noTrace. Structured lines carry their traces within.
func traceStart(line []byte) traceState {
	if len(line) == 0 {
		return noTrace
	}
	switch line[0] {
	case '{', ' ', '\t':
		return noTrace
	case 'T':
		if hasPrefix(line, pythonTraceback) {
			return pythonFrames
		}
	case 'p', 'f':
		if hasPrefix(line, "panic: ") || hasPrefix(line, "fatal error: ") {
			return goPanic
		}
	case 'g':
		if isGoroutine(line) {
			return goFrames
		}
	}
	return exceptionStart(line)
}

// exceptionStart looks for the name of an exception's class, or for the plain
// "Error" and "Exception" that JavaScript and Java print in front.
func exceptionStart(line []byte) traceState {
	for i := 0; ; i++ {
		j := bytes.IndexByte(line[i:], 'E')
		if j < 0 {
			return noTrace
		}
		i += j
		rest, ok := bytes.CutPrefix(line[i:], []byte("Exception"))
		if !ok {
			if rest, ok = bytes.CutPrefix(line[i:], []byte("Error")); !ok {
				continue
			}
		}
		if i > 0 && !isNameByte(line[i-1]) && line[i-1] != '.' && !hasSuffix(line[:i], "Uncaught ") {
			continue
		}
		if s := afterException(line, rest, i == 0); s != noTrace {
			return s
		}
	}
}

// afterException decides by what follows the name.
func afterException(line, rest []byte, first bool) traceState {
	switch {
	case len(rest) == 0, rest[0] == ':', rest[0] == '\r':
		return traceFrames
	case first && hasPrefix(rest, ` in thread "`):
		return traceFrames
	case hasPrefix(rest, " (") && line[len(line)-1] == ':':
		return traceRails
	case rest[0] == ')' && bytes.Contains(line, []byte(".rb:")):
		return traceFrames
	case hasPrefix(rest, " [") && bytes.IndexByte(rest, ']') > 0: // Error [ERR_CODE]: text
		return traceFrames
	}
	return noTrace
}

// next tells whether line continues the trace, and the state after it.
func (s traceState) next(line []byte) (traceState, bool) {
	line = bytes.TrimRight(line, "\r")
	switch s {
	case traceFrames, traceRails:
		return nextFrame(s, line)
	case traceProperties:
		if hasPrefix(line, "}") {
			return traceFrames, true
		}
		return traceProperties, indented(line)
	case pythonFrames, pythonEnd, pythonBlank, pythonChained:
		return nextPython(s, line)
	case goPanic, goFrames, goBlank:
		return nextGo(s, line)
	}
	return noTrace, false
}

func nextFrame(s traceState, line []byte) (traceState, bool) {
	if s == traceRails && len(bytes.TrimSpace(line)) == 0 {
		return traceRails, true
	}
	text := bytes.TrimLeft(line, " \t")
	if hasPrefix(text, "Caused by: ") || hasPrefix(text, "Suppressed: ") || hasPrefix(text, "--- End of ") {
		return traceFrames, true
	}
	if s == traceRails && bytes.Contains(text, []byte(".rb:")) {
		return traceRails, true
	}
	if len(text) == len(line) {
		return noTrace, false
	}
	switch {
	case hasPrefix(text, "at "):
		if hasSuffix(text, " {") {
			return traceProperties, true
		}
		return traceFrames, true
	case hasPrefix(text, "from "), hasPrefix(text, "eval at "), hasPrefix(text, "---> "),
		hasPrefix(text, "... ") && hasSuffix(text, "more"), hasPrefix(text, "... ") && hasSuffix(text, "omitted"):
		return traceFrames, true
	}
	return noTrace, false
}

func nextPython(s traceState, line []byte) (traceState, bool) {
	switch s {
	case pythonFrames:
		if indented(line) {
			return pythonFrames, true
		}
		return pythonEnd, isPythonError(line)
	case pythonEnd:
		return pythonBlank, len(line) == 0
	case pythonBlank:
		return pythonChained, hasPrefix(line, "During handling of the above exception") ||
			hasPrefix(line, "The above exception was the direct cause")
	default:
		if len(line) == 0 {
			return pythonChained, true
		}
		return pythonFrames, hasPrefix(line, pythonTraceback)
	}
}

// isPythonError recognizes "package.Error: text" and "KeyboardInterrupt".
func isPythonError(line []byte) bool {
	n := 0
	for n < len(line) && (isNameByte(line[n]) || line[n] == '.') {
		n++
	}
	return n > 0 && (n == len(line) || line[n] == ':')
}

func nextGo(s traceState, line []byte) (traceState, bool) {
	if isGoroutine(line) {
		return goFrames, true
	}
	switch s {
	case goPanic:
		if hasPrefix(line, "runtime stack:") {
			return goFrames, true
		}
		return goPanic, len(line) == 0 || hasPrefix(line, "[signal ") || hasPrefix(line, "\tpanic: ") || hasPrefix(line, "runtime: ")
	case goFrames:
		if len(line) == 0 {
			return goBlank, true
		}
		return goFrames, isGoFrame(line)
	}
	return noTrace, false
}

// isGoFrame recognizes a function's call, the place below it, and who
// started the goroutine.
func isGoFrame(line []byte) bool {
	if line[0] == '\t' || hasPrefix(line, "created by ") || hasPrefix(line, "...") {
		return true
	}
	call := bytes.IndexByte(line, '(')
	return call > 0 && line[len(line)-1] == ')' && bytes.IndexByte(line[:call], ' ') < 0
}

func isGoroutine(line []byte) bool {
	return hasPrefix(line, "goroutine ") && hasSuffix(line, "]:")
}

func indented(line []byte) bool {
	return len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
}

func isNameByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_'
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func hasSuffix(b []byte, suffix string) bool {
	return len(b) >= len(suffix) && string(b[len(b)-len(suffix):]) == suffix
}
