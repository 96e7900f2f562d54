#!/bin/sh
# Fuzzes every target in fuzz/ for some seconds each: ci/fuzz.sh SECONDS [TARGET…]
#
# cargo-fuzz needs unstable compiler flags (sanitizers, coverage); RUSTC_BOOTSTRAP lets the stable compiler
# take them, so that no second toolchain is needed. Inputs that it finds worth keeping stay in fuzz/corpus,
# those that fail in fuzz/artifacts.
set -eu
cd "$(dirname "$0")/.."

if [ $# -lt 1 ]; then
    echo "usage: ci/fuzz.sh SECONDS [TARGET...]" >&2
    exit 2
fi
seconds=$1
shift

export RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null 2>&1 || cargo install cargo-fuzz --locked

# All that fuzz/Cargo.toml names, unless some are asked for. (An assignment, so that a failure of the list ends this.)
targets=$(cargo fuzz list)
# shellcheck disable=SC2086 # names of targets are single words
[ $# -gt 0 ] || set -- $targets
[ $# -gt 0 ]
# All at once: they share all but their last few lines, and one that does not build is found before the first runs.
[ $# -eq 1 ] || cargo fuzz build
for target in "$@"; do
    echo "== $target: $seconds s"
    mkdir -p "fuzz/corpus/$target"
    words=fuzz/dictionaries/$target.dict
    # (The loop has its list already.)
    set -- -max_total_time="$seconds" -max_len=2048 -print_final_stats=1 -verbosity=0
    [ ! -f "$words" ] || set -- "$@" -dict="$words"
    cargo fuzz run "$target" "fuzz/corpus/$target" -- "$@"
done
