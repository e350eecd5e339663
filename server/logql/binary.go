package logql

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"
)

// operate is the value of an arithmetic operation or a comparison. holds is
// false where a comparison does not hold.
func operate(op string, a, b float64) (value float64, holds bool) {
	if compare, ok := comparisons[op]; ok {
		return a, compare(a, b)
	}
	switch op {
	case "+":
		return a + b, true
	case "-":
		return a - b, true
	case "*":
		return a * b, true
	case "^":
		return math.Pow(a, b), true
	}
	if b == 0 {
		return math.NaN(), true // as in Loki: neither infinite nor an error
	}
	if op == "/" {
		return a / b, true
	}
	return math.Mod(a, b), true
}

func (ev *evaluation) compileBinary(e *Binary) (node, error) {
	left, err := ev.compile(e.Left)
	if err != nil {
		return nil, err
	}
	right, err := ev.compile(e.Right)
	if err != nil {
		return nil, err
	}
	switch leftScalar, rightScalar := isScalar(e.Left), isScalar(e.Right); {
	case leftScalar && rightScalar:
		return foldScalars(e, left, right)
	case rightScalar:
		return &scalarOpNode{node: left, expr: e, scalar: float64(right.(scalarNode))}, nil
	case leftScalar:
		return &scalarOpNode{node: right, expr: e, scalar: float64(left.(scalarNode)), swapped: true}, nil
	}
	m := e.Matching
	if m == nil {
		m = &Matching{}
	}
	sides := sides{left: left, right: right, match: m}
	sides.init()
	if binaryOps[e.Op].set {
		return &setNode{sides: sides, op: e.Op}, nil
	}
	return &vectorOpNode{sides: sides, expr: e, pairs: map[[2]int]int{}}, nil
}

func foldScalars(e *Binary, left, right node) (node, error) {
	value, holds := operate(e.Op, float64(left.(scalarNode)), float64(right.(scalarNode)))
	if e.Bool {
		value = boolValue(holds)
	}
	return scalarNode(value), nil
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// scalarOpNode is an operation of a vector and a number.
type scalarOpNode struct {
	node
	expr    *Binary
	scalar  float64
	swapped bool // the number is on the left
}

func (n *scalarOpNode) at(i int) ([]sample, error) {
	in, err := n.node.at(i)
	out := in[:0]
	for _, s := range in {
		a, b := s.value, n.scalar
		if n.swapped {
			a, b = b, a
		}
		value, holds := operate(n.expr.Op, a, b)
		switch {
		case n.expr.Bool:
			value = boolValue(holds)
		case !holds:
			continue
		case binaryOps[n.expr.Op].compares:
			value = s.value
		}
		out = append(out, sample{s.id, value})
	}
	return out, err
}

// sides are two vectors whose samples belong together by a signature: their
// labels without those that do not matter.
type sides struct {
	left, right node
	match       *Matching
	// signatures are numbered; leftIDs and rightIDs are those of series.
	signatures        map[string]int
	leftIDs, rightIDs map[int]int
}

func (s *sides) init() {
	s.signatures, s.leftIDs, s.rightIDs = map[string]int{}, map[int]int{}, map[int]int{}
}

func (s *sides) signature(side node, ids map[int]int, id int) int {
	if n, ok := ids[id]; ok {
		return n
	}
	key := string(s.reduce(side.labels(id)).Bytes(nil))
	n, ok := s.signatures[key]
	if !ok {
		n = len(s.signatures)
		s.signatures[key] = n
	}
	ids[id] = n
	return n
}

// reduce leaves the labels that matter.
func (s *sides) reduce(l labels.Labels) labels.Labels {
	b := labels.NewBuilder(l)
	if s.match.On {
		b.Keep(s.match.Labels...)
	} else {
		b.Del(s.match.Labels...)
	}
	return b.Labels()
}

func (s *sides) at(i int) (left, right []sample, err error) {
	left, err = s.left.at(i)
	if err != nil {
		return nil, nil, err
	}
	right, err = s.right.at(i)
	return left, right, err
}

// setNode is and, or, unless. The series of the right side have odd numbers.
type setNode struct {
	sides
	op string
}

func (n *setNode) labels(id int) labels.Labels {
	if id%2 == 1 {
		return n.right.labels(id / 2)
	}
	return n.left.labels(id / 2)
}

func (n *setNode) at(i int) ([]sample, error) {
	left, right, err := n.sides.at(i)
	if err != nil {
		return nil, err
	}
	other, otherSide, otherIDs := right, n.right, n.rightIDs
	if n.op == "or" {
		other, otherSide, otherIDs = left, n.left, n.leftIDs
	}
	there := make(map[int]bool, len(other))
	for _, s := range other {
		there[n.signature(otherSide, otherIDs, s.id)] = true
	}
	out := make([]sample, 0, len(left))
	for _, s := range left {
		if n.op == "or" || there[n.signature(n.left, n.leftIDs, s.id)] == (n.op == "and") {
			out = append(out, sample{s.id * 2, s.value})
		}
	}
	if n.op == "or" {
		for _, s := range right {
			if !there[n.signature(n.right, n.rightIDs, s.id)] {
				out = append(out, sample{s.id*2 + 1, s.value})
			}
		}
	}
	return out, nil
}

// vectorOpNode is an operation of two vectors.
type vectorOpNode struct {
	sides
	expr *Binary
	// pairs are the result's series, by those of the many and the one side.
	pairs  map[[2]int]int
	result []labels.Labels
}

func (n *vectorOpNode) labels(id int) labels.Labels { return n.result[id] }

func (n *vectorOpNode) at(i int) ([]sample, error) {
	many, one, err := n.sides.at(i)
	if err != nil {
		return nil, err
	}
	manySide, manyIDs, oneSide, oneIDs := n.left, n.leftIDs, n.right, n.rightIDs
	swapped := n.match.Group == "right"
	if swapped {
		many, one = one, many
		manySide, manyIDs, oneSide, oneIDs = oneSide, oneIDs, manySide, manyIDs
	}
	ones := make(map[int]sample, len(one))
	for _, s := range one {
		signature := n.signature(oneSide, oneIDs, s.id)
		if _, double := ones[signature]; double {
			return nil, fmt.Errorf("found duplicate series for the match group %s on one side of the operation %s: %w",
				n.reduce(oneSide.labels(s.id)), n.expr.Op, errManyToMany)
		}
		ones[signature] = s
	}
	matched := make(map[int]bool, len(one))
	var out []sample
	for _, s := range many {
		signature := n.signature(manySide, manyIDs, s.id)
		partner, ok := ones[signature]
		if !ok {
			continue
		}
		if matched[signature] && n.match.Group == "" {
			return nil, errManyToOne
		}
		matched[signature] = true
		if value, ok := n.combine(s.value, partner.value, swapped); ok {
			out = append(out, sample{n.pair(manySide, s.id, oneSide, partner.id), value})
		}
	}
	return out, nil
}

func (n *vectorOpNode) combine(many, one float64, swapped bool) (float64, bool) {
	a, b := many, one
	if swapped {
		a, b = b, a
	}
	value, holds := operate(n.expr.Op, a, b)
	if n.expr.Bool {
		return boolValue(holds), true
	}
	return value, holds
}

// pair returns the number of the result's series of two that match.
func (n *vectorOpNode) pair(manySide node, many int, oneSide node, one int) int {
	key := [2]int{many, one}
	if n.match.Group == "" {
		key[1] = 0
	}
	if id, ok := n.pairs[key]; ok {
		return id
	}
	l := manySide.labels(many)
	if n.match.Group == "" {
		l = n.reduce(l)
	} else if len(n.match.Include) > 0 {
		b := labels.NewBuilder(l)
		from := oneSide.labels(one)
		for _, name := range n.match.Include {
			b.Set(name, from.Get(name))
		}
		l = b.Labels()
	}
	id := len(n.result)
	n.result = append(n.result, l)
	n.pairs[key] = id
	return id
}
