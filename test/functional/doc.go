// Package functional tests the collector against real kernels: real cgroups
// with real processes, on cgroup v1 or hybrid (this host, as root) and on v2
// (a virtual machine in which the test binary is pid 1, see test/cgroup2).
// What the collector delivers is compared with the kernel's files at the same
// tick and with cAdvisor's library. The tests have the build tag "system".
package functional
