#!/usr/bin/env bash
# Runs every fuzz target for the given time (default 20s), one after the other.
set -euo pipefail
time="${1:-20s}"
cd "$(dirname "$0")/.."
n=0
while IFS=: read -r file name; do
  echo "fuzz $(dirname "$file") $name"
  go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 10x
  n=$((n + 1))
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./||; s|:func |:|' | sort)
echo "fuzz: $n targets ran $time each"
