#!/bin/bash
# depguard.sh proves that .golangci.yml catches forbidden imports. In a scratch
# module with the same path, packages and configuration it gives one package at
# a time a file for every import below, and requires a depguard report for each
# forbidden one and none for the allowed ones.
set -euo pipefail
cd "$(dirname "$0")/.."
LINT=${LINT:?the path of golangci-lint}
module=github.com/binnacle-obs/binnacle

# importing package, "no" or "ok", imported packages (ours, or with a dot: others)
cases="
agent             no server storage/tsdb github.com/prometheus/node_exporter
agent             ok agent/tail agent/ship collector collector/cgroup storage/remote storage/elastic storage/otlp scrape
agent/tail        no agent/ship storage/logdb server
agent/tail        ok storage
agent/ship        no agent/tail storage/otlp
agent/ship        ok storage
server            no agent collector test github.com/prometheus/prometheus/tsdb
server            ok server/api server/alert server/loki storage/tsdb storage/logdb storage/elastic scrape listen
server/api        no storage/tsdb server/alert agent
server/api        ok storage server/guard
server/alert      no storage/remote server/api agent
server/alert      ok storage
server/logql      no server/loki storage/logdb
server/logql      ok storage
server/loki       no server/api storage/logdb agent
server/guard      no server/api storage
server/loki       ok server/guard server/logql storage storage/otlp
collector         no agent storage/tsdb github.com/google/cadvisor
collector         ok collector/cgroup collector/proc collector/disk storage github.com/prometheus/node_exporter
collector/cgroup  no storage collector collector/proc
collector/proc    no collector
collector/disk    no collector/cgroup
storage           no storage/tsdb collector
storage/tsdb      no storage/remote server
storage/tsdb      ok storage storage/datadir github.com/prometheus/prometheus/tsdb
storage/remote    no collector storage/tsdb github.com/prometheus/prometheus/tsdb
storage/remote    ok storage storage/endpoint
storage/logdb     no storage/elastic server github.com/elastic/go-elasticsearch
storage/logdb     ok storage storage/datadir
storage/datadir   no storage/tsdb storage/logdb agent
storage/datadir   ok storage
storage/elastic   no storage/logdb agent
storage/elastic   ok storage storage/endpoint github.com/elastic/go-elasticsearch
storage/endpoint  no storage agent
storage/otlp      no server agent
storage/otlp      ok storage storage/endpoint
scrape            no storage/remote
listen            no storage
demo              no storage agent
cmd/binnacle      no test github.com/prometheus/prometheus/tsdb
cmd/binnacle      ok agent server collector storage/tsdb
"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp .golangci.yml "$dir/"
printf 'module %s\n\ngo 1.26.0\n' "$module" >"$dir/go.mod"

# stub PATH: an empty package.
stub() {
  mkdir -p "$dir/$1"
  printf '// Package x is a stub.\npackage x\n' >"$dir/$1/stub.go"
}
for package in agent agent/{tail,ship} server server/{api,alert,guard,logql,loki} collector collector/{cgroup,proc,disk} \
  storage storage/{tsdb,remote,datadir,logdb,elastic,endpoint,otlp} scrape listen demo test cmd/binnacle; do
  stub "$package"
done
for other in github.com/prometheus/prometheus github.com/prometheus/node_exporter github.com/google/cadvisor github.com/elastic/go-elasticsearch; do
  stub "outside/$other"
  printf 'module %s\n' "$other" >"$dir/outside/$other/go.mod"
  printf 'require %s v0.0.0\nreplace %s => ./outside/%s\n' "$other" "$other" "$other" >>"$dir/go.mod"
done
stub outside/github.com/prometheus/prometheus/tsdb

n=0 caught=0 passed=0 status=0
for importer in $(awk 'NF{print $1}' <<<"$cases" | uniq); do
  while read -r package verdict imports; do
    [ "$package" = "$importer" ] || continue
    for import in $imports; do
      case $import in *.*) ;; *) import=$module/$import ;; esac
      n=$((n + 1))
      printf 'package x\n\nimport _ "%s"\n' "$import" >"$dir/$importer/$verdict$n.go"
    done
  done <<<"$cases"

  out=$(cd "$dir" && GOFLAGS=-mod=mod "$LINT" run --enable-only depguard --output.text.colors=false \
    --output.text.print-issued-lines=false "./$importer" 2>&1 || true)
  for file in "$dir/$importer"/no*.go; do
    if grep -q "^$importer/$(basename "$file"):.*(depguard)" <<<"$out"; then
      caught=$((caught + 1))
    else
      echo "depguard.sh: $importer: not caught: $(tail -1 "$file")"
      status=1
    fi
  done
  for file in $(cd "$dir" && find "$importer" -maxdepth 1 -name 'ok*.go'); do
    if grep -q "^$file:" <<<"$out"; then
      echo "depguard.sh: $importer: reported although allowed: $(tail -1 "$dir/$file")"
      status=1
    else
      passed=$((passed + 1))
    fi
  done
  [ $status = 0 ] || printf '%s\n' "$out"
  rm -f "$dir/$importer"/{no,ok}*.go
done
[ $status = 0 ] || exit 1
echo "depguard.sh: $caught forbidden imports caught, $passed allowed ones pass"
