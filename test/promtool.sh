#!/bin/bash
# promtool.sh builds the promtool of the Prometheus version in go.mod, once,
# into $BINNACLE_CACHE and prints its path. Debian's promtool has no "push".
# The module cannot be installed by itself (it has replace directives), so it
# is built in a copy of this module's go.mod, without service discovery, which
# would bring the libraries of all clouds.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
version=$("$GO" list -m -f '{{.Version}}' github.com/prometheus/prometheus)
cache=${BINNACLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/binnacle}/promtool-$version
if [ ! -x "$cache/promtool" ]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  cp go.mod go.sum "$dir/"
  mkdir -p "$cache"
  (cd "$dir" && "$GO" get "github.com/prometheus/prometheus/cmd/promtool@$version" &&
    CGO_ENABLED=0 "$GO" build -trimpath -tags remove_all_sd -o "$cache/promtool.new" github.com/prometheus/prometheus/cmd/promtool) >&2
  mv "$cache/promtool.new" "$cache/promtool"
fi
echo "$cache/promtool"
