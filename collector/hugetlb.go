package collector

import "github.com/binnacle-obs/binnacle/collector/cgroup"

func hugetlbFamilies() []Descriptor {
	const g = "hugetlb"
	return []Descriptor{
		describe(g, "container_hugetlb_usage_bytes", gauge, "bytes", "Huge pages in use; the reserved account where the kernel has one.",
			origin{"hugetlb.SIZE[.rsvd].usage_in_bytes", "hugetlb.SIZE[.rsvd].current", "same"}, "pagesize"),
		describe(g, "container_hugetlb_max_usage_bytes", gauge, "bytes", "Highest usage of huge pages so far.",
			origin{"hugetlb.SIZE[.rsvd].max_usage_in_bytes", "", "better: absent on v2 instead of 0"}, "pagesize"),
		describe(g, "container_hugetlb_failcnt", counter, "", "Hits of the limit of huge pages.",
			origin{"hugetlb.SIZE[.rsvd].failcnt", "hugetlb.SIZE[.rsvd].events max", "same"}, "pagesize"),
	}
}

func hugetlbTable() table[cgroup.Hugetlb] {
	type h = cgroup.Hugetlb
	return table[h]{
		slots: []elemSlot[h]{
			{name: "container_hugetlb_usage_bytes", div: 1, value: func(p *h) uint64 { return p.Usage }},
			{name: "container_hugetlb_max_usage_bytes", div: 1, value: func(p *h) uint64 { return p.MaxUsage }},
			{name: "container_hugetlb_failcnt", div: 1, value: func(p *h) uint64 { return p.FailCount }},
		},
		key:    func(p *h) rowKey { return rowKey{name: p.PageSize} },
		labels: func(p *h) []string { return []string{"pagesize", p.PageSize} },
		limit:  8,
	}
}

// preferReserved keeps one account per page size, in place: the reserved one
// where there is one, because it is what the limit of a container acts on.
func preferReserved(pages []cgroup.Hugetlb) []cgroup.Hugetlb {
	kept := pages[:0]
	for i := range pages {
		if pages[i].Reserved || !hasReserved(pages[i:], pages[i].PageSize) && !hasReserved(kept, pages[i].PageSize) {
			kept = append(kept, pages[i])
		}
	}
	return kept
}

func hasReserved(pages []cgroup.Hugetlb, size string) bool {
	for i := range pages {
		if pages[i].Reserved && pages[i].PageSize == size {
			return true
		}
	}
	return false
}
