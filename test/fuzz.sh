#!/usr/bin/env bash
# Runs every fuzz target for the given time (default 20s), two side by side.
#
# A target fails when it finds an input that breaks it: the input is printed, and left under testdata/fuzz of its package, where it is
# tried again by every later `go test` once it is committed. It fails too when it hangs twice. It does not fail because of what the engine of Go 1.26
# does at the end of its time: a worker that is told to stop in the middle of an input reports "context deadline exceeded", and no input.
#
# FUZZ_CORPUS=folder keeps what was learned between runs (else each begins with the seeds); FUZZ_JOBS=n runs n side by side.
set -euo pipefail
time="${1:-20s}"
cd "$(dirname "$0")/.."
top="$PWD"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
corpus="${FUZZ_CORPUS:-$work/corpus}"
mkdir -p "$corpus" "$work/bin" "$work/log"
seconds="$(sed -E 's/^([0-9]+)s$/\1/; s/^([0-9]+)m$/\1*60/; t; s/.*/-1/' <<<"$time")"
seconds=$((seconds))
[ "$seconds" -gt 0 ] || { echo "fuzz: write the time as 20s or 5m, not $time" >&2; exit 2; }

# One line a target: folder, name.
targets() {
  grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./(.*)/[^/]+:func (.*)$|\1 \2|' | sort -u
}

# One instrumented binary a package. `go test -fuzz` would have the compiler count branches in everything that the binary holds, a whole
# database among it, which takes many minutes; we count in our own code and in the parsers that we hand bytes to.
build() {
  local dir="$1" flags=()
  for p in yingda/... github.com/emiago/sipgo/... go.yaml.in/yaml/... gopkg.in/yaml.v3; do
    flags+=("-gcflags=$p=-d=libfuzzer")
  done
  (cd "$top" && go test -c "${flags[@]}" -o "$work/bin/${dir//\//_}" "./$dir")
}

crashers() { ls "$top/$1/testdata/fuzz/$2" 2>/dev/null | sort || true; }

# try runs one target once. 0: it held; 1: it broke; 2: it hung.
try() {
  local dir="$1" name="$2" log="$work/log/$2.${1//\//_}" before rc=0 new
  before="$(crashers "$dir" "$name")"
  (cd "$top/$dir" && exec timeout --kill-after=5 $((seconds + 60)) "$work/bin/${dir//\//_}" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "$time" \
    -test.fuzzcachedir "$corpus/$dir" -test.fuzzminimizetime 10x -test.parallel 1) >"$log" 2>&1 || rc=$?
  new="$(comm -13 <(echo "$before") <(crashers "$dir" "$name"))"
  if [ -n "$new" ]; then
    echo "FAIL  $dir $name"
    grep -v '^fuzz: elapsed' "$log" | head -60
    for f in $new; do
      echo "      the input, $dir/testdata/fuzz/$name/$f:"
      head -c 20000 "$top/$dir/testdata/fuzz/$name/$f" | sed 's/^/        /'
    done
    return 1
  fi
  case $rc in
    0) ;;
    124 | 137) return 2 ;;
    *)
      # Only the engine's own complaint about the end of its time may stand there.
      if ! grep -q 'context deadline exceeded' "$log" || grep -qE 'panic|hung or terminated|Failing input|_test\.go:' "$log"; then
        echo "FAIL  $dir $name (exit code $rc)"
        tail -60 "$log"
        return 1
      fi
      ;;
  esac
  grep -q '^fuzz: elapsed' "$log" || { echo "FAIL  $dir $name: it did not run"; tail -20 "$log"; return 1; }
  echo "ok    $dir $name: $(grep '^fuzz: elapsed' "$log" | tail -1 | grep -oE 'execs: [0-9]+')"
}

one() {
  local rc=0
  try "$1" "$2" || rc=$?
  [ "$rc" != 2 ] && return "$rc"
  echo "again $1 $2: it did not end in its time"
  rc=0
  try "$1" "$2" || rc=$?
  [ "$rc" != 2 ] && return "$rc"
  echo "FAIL  $1 $2: it hung twice, without an input that breaks it"
  tail -20 "$work/log/$2.${1//\//_}"
  return 1
}

began=$SECONDS
targets >"$work/targets"
n="$(wc -l <"$work/targets")"
[ "$n" -gt 0 ] || { echo "fuzz: no targets found" >&2; exit 1; }
cut -d' ' -f1 "$work/targets" | uniq | while read -r dir; do build "$dir"; done
built=$((SECONDS - began))
export -f one try crashers
export time top work corpus seconds
bad=0
xargs -P "${FUZZ_JOBS:-2}" -L 1 bash -c 'one "$1" "$2"' one <"$work/targets" || bad=1
echo "fuzz: $n targets, $time each, $((SECONDS - began)) s in all ($built s to build)"
exit "$bad"
