package corpus

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Needle is in one line of a Mixed corpus, in the middle of a word.
const Needle = "xq7needle42z"

// NeedleWord is a word of its own in one line of a Mixed corpus.
const NeedleWord = "zanzibar-quokka"

// Mixed makes log records as a cluster writes them: pods of several
// applications, each with its own format (access logs, JSON, logfmt, klog,
// plain text), with values that differ as they do in life. The same options
// make the same corpus.
type Mixed struct {
	rnd     *rand.Rand
	pods    []mixedPod
	left    int64
	bytes   int64
	now     int64
	perByte float64
	needles int
	arena   []byte
	traced  [16]byte
}

// mixedPod is a writer.
type mixedPod struct {
	stream *storage.Stream
	source storage.SourceID
	offset int64
	format int
}

// namespaces of the pods; some have more of them than others.
var mixedNamespaces = []string{"shop", "shop", "payments", "search", "search", "search", "ingress", "platform", "batch", "kube-system"}

// NewMixed makes a corpus of about that many bytes of text from that many
// pods, spread over span from start on.
func NewMixed(pods int, bytes int64, start time.Time, span time.Duration) *Mixed {
	m := &Mixed{
		rnd: rand.New(rand.NewPCG(7, uint64(pods))), left: bytes, bytes: bytes, now: start.UnixNano(),
		perByte: float64(span) / float64(bytes),
	}
	for i := range pods {
		namespace := mixedNamespaces[i%len(mixedNamespaces)]
		pod := fmt.Sprintf("%s-%s-%05x", namespace, mixedNouns[i%len(mixedNouns)], m.rnd.Uint32()>>12)
		m.pods = append(m.pods, mixedPod{
			stream: &storage.Stream{Labels: labels.FromStrings(
				storage.LabelCluster, "bench", storage.LabelNode, fmt.Sprintf("node-%d", i%20), storage.LabelNamespace, namespace,
				storage.LabelPod, pod, storage.LabelUID, fmt.Sprintf("%08x-0000-4000-8000-%012x", m.rnd.Uint32(), i),
				storage.LabelContainer, mixedNouns[i%len(mixedNouns)], storage.LabelRestart, "0", storage.LabelStream, "stdout",
				storage.LabelWorkload, namespace+"-"+mixedNouns[i%len(mixedNouns)], storage.LabelWorkloadType, "deployment",
			)},
			source: storage.SourceID{byte(i), byte(i >> 8), 1},
			format: i % len(mixedFormats),
		})
	}
	return m
}

// Next fills batch with the next records and returns how many there were; 0 at
// the end. A pod writes several lines at a time. Lines stay valid until the
// next call.
func (m *Mixed) Next(batch []storage.Record) int {
	m.arena = m.arena[:0]
	var ends []int
	n := 0
	for n < len(batch) && m.left > 0 {
		p := &m.pods[m.rnd.IntN(len(m.pods))]
		for range 1 + m.rnd.IntN(20) {
			if n == len(batch) || m.left <= 0 {
				break
			}
			before := len(m.arena)
			level := m.line(p)
			size := int64(len(m.arena) - before)
			m.now += int64(float64(size) * m.perByte)
			batch[n] = storage.Record{
				Stream: p.stream, Time: m.now, Source: p.source, Offset: p.offset, Size: int32(size), Level: level,
			}
			// A line of a CRI file has a time, a stream and a flag in front.
			p.offset += size + 46
			m.left -= size
			ends = append(ends, len(m.arena))
			n++
		}
	}
	start := 0
	for i, end := range ends {
		batch[i].Line = m.arena[start:end:end]
		start = end
	}
	return n
}

// line appends the next line of a pod to the arena.
func (m *Mixed) line(p *mixedPod) storage.Level {
	level := storage.LevelInfo
	switch r := m.rnd.IntN(100); {
	case r < 2:
		level = storage.LevelError
	case r < 7:
		level = storage.LevelWarn
	case r < 17:
		level = storage.LevelDebug
	}
	mixedFormats[p.format](m, level)
	switch {
	case m.needles == 0 && m.left < m.bytes/2:
		m.arena = append(m.arena, " session=ab"+Needle+"cd"...)
		m.needles++
	case m.needles == 1 && m.left < m.bytes/3:
		m.arena = append(m.arena, " "+NeedleWord+" seen"...)
		m.needles++
	}
	return level
}

func (m *Mixed) text(s string) { m.arena = append(m.arena, s...) }

func (m *Mixed) pick(from []string) { m.text(from[m.rnd.IntN(len(from))]) }

func (m *Mixed) number(n int) { m.arena = strconv.AppendInt(m.arena, int64(m.rnd.IntN(n)), 10) }

// hex appends n hexadecimal digits.
func (m *Mixed) hex(n int) {
	const digits = "0123456789abcdef"
	for n > 0 {
		v := m.rnd.Uint64()
		for range min(n, 16) {
			m.arena = append(m.arena, digits[v&15])
			v >>= 4
		}
		n -= min(n, 16)
	}
}

func (m *Mixed) time(layout string) {
	m.arena = time.Unix(0, m.now).UTC().AppendFormat(m.arena, layout)
}

func (m *Mixed) address() {
	m.text("10.")
	m.number(4)
	m.text(".")
	m.number(250)
	m.text(".")
	m.number(250)
}
