// Package system tests build/binnacle as a black box: real processes, real
// cgroups, Debian's promtool and Alertmanager. The tests have the build tag
// "system" and run by make test-system.
package system
