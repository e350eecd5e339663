package logql

// tokenKind is the kind of a token.
type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokIdent
	tokString
	tokNumber
	tokDuration
	tokBytes
	tokRange // [5m]
	tokFlag  // --strict
	tokOp    // everything else: text tells which
)

// token is a word of a query.
type token struct {
	kind tokenKind
	// text is the identifier, the unquoted string, the operator or the source
	// of a number, duration or size.
	text string
	// number is the value of a number, of bytes, or of a duration in ns.
	number float64
	// pos is the offset of the token's first byte and end that after its last.
	pos, end int
}

// is tells whether the token is an operator or a bare word of this text.
func (t token) is(text string) bool {
	return (t.kind == tokOp || t.kind == tokIdent) && t.text == text
}

// String names the token as error messages do.
func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "end of query"
	case tokIdent:
		return "IDENTIFIER (" + t.text + ")"
	case tokString:
		return "STRING"
	case tokNumber:
		return "NUMBER (" + t.text + ")"
	case tokDuration:
		return "DURATION (" + t.text + ")"
	case tokBytes:
		return "BYTES (" + t.text + ")"
	case tokRange:
		return "RANGE ([" + t.text + "])"
	case tokFlag:
		return "FLAG (" + t.text + ")"
	default:
		return t.text
	}
}
