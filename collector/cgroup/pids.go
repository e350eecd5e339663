package cgroup

// parsePidsEvents reads pids.events: "max 3".
func parsePidsEvents(p *parser, b []byte, s *Stats) bool {
	v := [1]uint64{None}
	ok := p.maxEvent.parse(b, v[:])
	if ok {
		s.Pids.EventsMax = v[0]
	}
	return ok
}
