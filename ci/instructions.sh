#!/usr/bin/env bash
# Counts instructions of one operation, in the store and in a whole worker, the same at every run: ci/instructions.sh [NAME…]
#
# Each work of the benches runs twice under callgrind, once for longer; the difference leaves out what went before.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT

# program BENCH: its path, built if need be.
program() {
    cargo bench --no-run --bench "$1" --message-format=json --quiet |
        sed -n 's/.*"executable":"\([^"]*\/'"$1"'-[^"]*\)".*/\1/p'
}

# total PROGRAM NAME TIMES: instructions of the whole run.
total() {
    valgrind --tool=callgrind --callgrind-out-file="$dir/out" "$1" repeat "$2" "$3" 2>&1 |
        awk '/Collected/ { print $4 }'
}

# count PROGRAM NAME TIMES: prints the instructions of one operation.
count() {
    local operations short long
    operations=$("$1" repeat "$2" "$3" | cut -d' ' -f1)
    short=$(total "$1" "$2" "$3")
    long=$(total "$1" "$2" $((2 * $3)))
    awk -v name="$2" -v n=$((long - short)) -v ops="$operations" 'BEGIN { printf "%-16s %8.1f\n", name, n / ops }'
}

# counts BENCH NAME…: those that the command line chooses, or all.
wanted=" $* "
counts() {
    local bench=$1 binary name
    shift
    binary=$(program "$bench")
    echo "$bench: instructions of one operation"
    for name in "$@"; do
        if [ "$wanted" = "  " ] || [[ "$wanted" == *" $name "* ]]; then
            count "$binary" "$name" 50
        fi
    done
}

counts store get/1/100k get/32/100k set/1/100k set/32/100k resize/32/100k
counts worker get/1/100k get/64/100k set/64/100k get-text/64/100k set-text/64/100k parse/get parse/set
