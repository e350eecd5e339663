#!/bin/bash
# system.sh runs the tests that need real kernels and real processes:
# 1. the functional tests of the collector on this host (as root),
# 2. the same binary in a machine with cgroup v2,
# 3. black-box tests of build/binnacle,
# 4. storage/elastic against real search engines (test/elasticsearch),
# 5. the logs of build/binnacle, with real search engines.
# What is missing fails. `system.sh functional|cgroup2|system|elastic|logs` runs one
# of them.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
# Static binaries, for the virtual machine, by the flags of the Makefile.
export CGO_ENABLED=0
[[ " ${GOFLAGS:-} " == *" -trimpath "* ]] || export GOFLAGS="${GOFLAGS:-} -trimpath"
mkdir -p build

[ "$(id -u)" = 0 ] || { echo "system.sh: needs root, it makes cgroups" >&2; exit 2; }

build_functional() {
  "$GO" test -tags system -c -o build/functional.test ./test/functional
  "$GO" build -o build/worker ./test/functional/worker
}

functional() {
  build_functional
  build/functional.test -test.v -test.timeout 15m
}

cgroup2() {
  build_functional
  FILES=build/worker bash test/cgroup2/run.sh build/functional.test -test.v -test.timeout 15m
}

system() {
  "$GO" build -o build/worker ./test/functional/worker
  "$GO" test -tags system -count=1 -v -timeout 40m -skip '^TestLogs' ./test/system
}

elastic() {
  "$GO" test -tags system -count=1 -v -timeout 40m ./test/elasticsearch
}

logs() {
  "$GO" test -tags system -count=1 -v -timeout 40m -run '^TestLogs' ./test/system
}

# run PART: with a headline and the time it took.
run() {
  local start=$SECONDS
  printf '\n--- %s\n' "$1"
  "$1"
  printf -- '--- %s: %d s\n' "$1" $((SECONDS - start))
}

if [ $# -gt 0 ]; then
  for part; do run "$part"; done
  exit
fi
run functional
# The virtual machine has one processor of its own and waits for nothing else.
machine=$(mktemp)
run cgroup2 >"$machine" 2>&1 &
run elastic
status=0
wait $! || status=$?
cat "$machine"
rm -f "$machine"
[ $status = 0 ] || exit $status
run system
run logs
