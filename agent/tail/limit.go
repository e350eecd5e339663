package tail

import "time"

// bucket is the token bucket of a container. It runs on the log's own
// timestamps: what is shed depends on the log alone, whenever it is read.
type bucket struct {
	rate, burst float64 // bytes per second, bytes
	state       bucketState
}

// bucketState is kept with the positions, so that the same lines are shed
// when they are read again.
type bucketState struct {
	Tokens   float64 `json:"tokens"`
	Time     int64   `json:"time"` // of the last record, nanoseconds
	Shedding bool    `json:"shedding,omitempty"`
}

func newBucket(rate, burst int) *bucket {
	if rate == 0 {
		return nil
	}
	return &bucket{rate: float64(rate), burst: float64(burst), state: bucketState{Tokens: float64(burst)}}
}

// admit takes size bytes out of the bucket, or returns false to shed them. A
// line that is larger than what is left is admitted and leaves a debt. Once
// it sheds it goes on until the bucket is half full: a few long gaps instead
// of many short ones, each of which costs a line that reports it.
func (b *bucket) admit(at int64, size int) bool {
	s := &b.state
	if elapsed := at - s.Time; elapsed > 0 {
		s.Tokens = min(b.burst, s.Tokens+time.Duration(elapsed).Seconds()*b.rate)
		s.Time = at
	}
	if s.Shedding && s.Tokens < b.burst/2 || s.Tokens <= 0 {
		s.Shedding = true
		return false
	}
	s.Shedding = false
	s.Tokens -= float64(size)
	return true
}

// shed counts what a rate limit left out of one output since the last record.
type shed struct {
	Lines  int64 `json:"lines,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`
	Offset int64 `json:"offset,omitempty"` // of the first
	Time   int64 `json:"time,omitempty"`   // of the first
}

// maxShedSpan is how long, in the log's time, lines are shed without a word.
const maxShedSpan = int64(10 * time.Second)
