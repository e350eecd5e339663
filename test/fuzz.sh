#!/bin/bash
# fuzz.sh runs every fuzz target of the module for $FUZZTIME, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}

targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's#^\./##; s#/[^/]*:func # #' | sort -u)
if [ -z "$targets" ]; then
  echo "fuzz.sh: no fuzz target found: the search is wrong" >&2
  exit 1
fi
while read -r package target; do
  echo "== $package $target"
  "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$package" </dev/null
done <<<"$targets"
