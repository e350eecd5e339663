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
mkdir -p build

[ "$(id -u)" = 0 ] || { echo "system.sh: needs root, it makes cgroups" >&2; exit 2; }

build_functional() {
  CGO_ENABLED=0 "$GO" test -tags system -c -o build/functional.test ./test/functional
  CGO_ENABLED=0 "$GO" build -o build/worker ./test/functional/worker
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
  CGO_ENABLED=0 "$GO" build -o build/worker ./test/functional/worker
  "$GO" test -tags system -count=1 -v -timeout 40m -skip '^TestLogs' ./test/system
}

elastic() {
  "$GO" test -tags system -count=1 -v -timeout 40m ./test/elasticsearch
}

logs() {
  "$GO" test -tags system -count=1 -v -timeout 40m -run '^TestLogs' ./test/system
}

for part in "${@:-functional cgroup2 system elastic logs}"; do
  for name in $part; do
    printf '\n--- %s\n' "$name"
    start=$SECONDS
    "$name"
    printf -- '--- %s: %d s\n' "$name" $((SECONDS - start))
  done
done
