// Package collector turns readings of cgroups and of the machine into samples:
// it knows metric families, their names, units and labels, and when to read
// what. It does not know where the samples go.
//
// One goroutine owns all series of containers. Once per interval it reads
// every cgroup, fills one batch with one timestamp and hands it to the
// Appender. Series are made once per container and cached by position, so a
// cycle in the steady state neither looks up labels nor allocates.
package collector
