#!/bin/bash
# golden.sh rewrites the golden files: it runs the tests of every package that
# defines an -update flag with that flag.
set -euo pipefail
cd "$(dirname "$0")/.."

files=$(grep -rlE --include='*_test.go' 'flag\.Bool\("update"' . || true)
if [ -z "$files" ]; then
  echo "golden.sh: no package defines an -update flag" >&2
  exit 1
fi
for package in $(xargs -n1 dirname <<<"$files" | sort -u); do
  "${GO:-go}" test "$package" -update
done
