package logql

// wanted is the part of a parser step that knows which labels to extract and
// when there are no more of them.
type wanted struct {
	needs
	// stream is the one that open was counted for.
	stream *streamState
	open   int
	// left is how many names may still be found in this line; below 0: unknown.
	left int
}

// begin starts a line.
func (w *wanted) begin(v *view) {
	if w.wantsErrors() {
		w.left = -1
		return
	}
	if w.stream != v.stream {
		w.stream, w.open = v.stream, 0
		for name := range w.names {
			if _, given := v.stream.get(name); !given {
				w.open++
			}
		}
	}
	w.left = w.open
}

// done tells that nothing more can be found.
func (w *wanted) done() bool { return w.left == 0 }

// offer extracts a label if it is wanted.
func (w *wanted) offer(v *view, name, value string) {
	if name == "" || !w.wants(name) {
		return
	}
	before := len(v.parsed)
	v.extract(name, value)
	if len(v.parsed) > before && !v.given(name) {
		w.left--
	}
}

// labelName makes a label name of a key: what names do not allow becomes "_".
// The result is the key itself where it can be.
func labelName(key string, v *view) string {
	if isLabelName(key) || key == "" {
		return key
	}
	start := len(v.arena)
	v.arena = appendLabelName(v.arena, key)
	return unsafeString(v.arena[start:])
}

// appendLabelName appends key with "_" for what names do not allow.
func appendLabelName(dst []byte, key string) []byte {
	if isDigit(key[0]) {
		dst = append(dst, '_')
	}
	return appendNamePart(dst, key)
}

func appendNamePart(dst []byte, key string) []byte {
	for _, r := range key {
		if r < 0x80 && isIdentPart(byte(r)) {
			dst = append(dst, byte(r))
		} else {
			dst = append(dst, '_')
		}
	}
	return dst
}
