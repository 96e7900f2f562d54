#!/usr/bin/env bash
# Compares with Valkey 9.1.2 in the same minutes: one server thread on core 0, redis-benchmark on core 1, taking turns.
#
#   ci/bench_peers.sh                  all loads, memory per item, system calls per request
#   LOADS="b c" ROUNDS=5 PARTS=loads ci/bench_peers.sh
#   OURS=valkey ci/bench_peers.sh      Valkey against itself: how much of a ratio is noise
#
# The figure that counts is requests per second of processor time that the server used (utime + stime of the process): the
# client on the other core, and whoever else uses this machine, touch it least. Quote ratios of the same round, never single figures.
set -euo pipefail
cd "$(dirname "$0")/.."
ci/setup.sh
# shellcheck source=ci/lib.sh
. ci/lib.sh

: "${ROUNDS:=3}" "${LOADS:=a b c d e f}" "${PARTS:=loads memory syscalls}" "${OURS:=target/release/kv-server}"
: "${SECONDS_PER_RUN:=3}" "${ITEMS:=2000000}"
valkey=.ci/cache/valkey-server
log=$(mktemp -d)
ulimit -n 4096

if [ "$OURS" = target/release/kv-server ]; then
    cargo build --release --quiet --bin kv-server
fi

# Real-time priority keeps other processes out of the measurement; without the right to it, results are merely noisier.
first=()
if chrt -f 1 true 2>/dev/null; then
    first=(chrt -f 1)
else
    echo "no real-time priority here: expect noise"
fi

declare -A ports pids
# launch NAME: starts a contender on core 0.
launch() {
    local port
    port=$(free_port)
    if [ "$1" = ours ] && [ "$OURS" != valkey ]; then
        start "$log/$1" "$port" taskset -c 0 "${first[@]}" "$OURS" --port "$port" --admin-port "$(free_port)" \
            --threads 1 --max-memory 1.4GB
    else
        start "$log/$1" "$port" taskset -c 0 "${first[@]}" "$valkey" --port "$port" --save '' --appendonly no
    fi
    ports[$1]=$port
    pids[$1]=$server_pid
}

quit() {
    kill "${pids[$1]}"
    wait "${pids[$1]}" || true
}

# Processor time of a process in clock ticks.
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
rss() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$1/status"; }
info() { redis-cli -p "$1" info | tr -d '\r' | awk -F: -v name="$2" '$1 == name { print $2 }'; }
per_second=$(getconf CLK_TCK)

# client PORT ARGUMENTS...: redis-benchmark on core 1; prints its last line of CSV: name, requests/s, latencies in ms.
client() {
    taskset -c 1 "${first[@]}" redis-benchmark -p "$1" "${@:2}" --csv 2>/dev/null | tail -1 | tr -d '"'
}

# The loads: connections, pipeline depth, value size, keys.
declare -A load=([a]="50 1 64 100000" [b]="50 16 64 100000" [c]="50 64 64 100000" [d]="1 1 64 100000" [e]="1000 1 64 100000" [f]="50 1 16384 10000")

# run NAME LOAD: nine reads to one write; prints requests/s, thousand requests per processor second, p50 and p99 in µs.
run() {
    local port=${ports[$1]} pid=${pids[$1]} connections depth size keys
    read -r connections depth size keys <<<"${load[$2]}"
    local common=(-c "$connections" -P "$depth" -d "$size" -r "$keys")
    # As many requests as fill the time, by the speed of a short run, which also warms up.
    local speed requests before spent reads writes
    speed=$(client "$port" "${common[@]}" -t get -n 20000 | cut -d, -f2)
    requests=$(awk -v s="$speed" -v t="$SECONDS_PER_RUN" 'BEGIN { n = s * t; print int(n < 20000 ? 20000 : n) }')
    before=$(ticks "$pid")
    reads=$(client "$port" "${common[@]}" -t get -n "$((requests * 9 / 10))")
    writes=$(client "$port" "${common[@]}" -t set -n "$((requests / 10))")
    spent=$(($(ticks "$pid") - before))
    awk -F, -v n="$requests" -v ticks="$spent" -v hz="$per_second" -v writes="$writes" '{
        split(writes, w, ",");
        seconds = n * 0.9 / $2 + n * 0.1 / w[2];
        printf "%.0f %.1f %.0f %.0f\n", n / seconds, n / (ticks / hz) / 1000, $5 * 1000, $7 * 1000 }' <<<"$reads"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

measure_loads() {
    local load_name round name ratios
    echo "load round   ours: req/s kreq/cpu-s p50us p99us   valkey: req/s kreq/cpu-s p50us p99us   ratio per cpu-s, p50"
    for load_name in $LOADS; do
        : >"$log/ratios"
        for name in ours valkey; do
            launch "$name"
            read -r _ _ size keys <<<"${load[$load_name]}"
            python3 ci/bench_fill.py "${ports[$name]}" "$keys" "$size"
        done
        for round in $(seq "$ROUNDS"); do
            declare -A result=()
            for name in ours valkey; do result[$name]=$(run "$name" "$load_name"); done
            awk -v o="${result[ours]}" -v v="${result[valkey]}" -v l="$load_name" -v r="$round" 'BEGIN {
                split(o, a, " "); split(v, b, " ");
                printf "%s    %s       %s %s %s %s      %s %s %s %s      %.2f %.2f\n", l, r, a[1], a[2], a[3], a[4],
                    b[1], b[2], b[3], b[4], a[2] / b[2], a[3] / b[3] }' | tee -a "$log/ratios"
        done
        ratios=$(awk '{ print $(NF - 1) }' "$log/ratios" | median)
        echo "$load_name    median ratio of requests per server-CPU-second: $ratios"
        quit ours
        quit valkey
    done
}

# Bytes per item beyond key and value, by the kernel's count and by the server's own.
measure_memory() {
    local size name port pid rss_before info_before
    echo "memory per item beyond 16-byte key and value, $ITEMS items: by RSS, by INFO's used_memory"
    for size in 32 64 200; do
        for name in ours valkey; do
            launch "$name"
            port=${ports[$name]} pid=${pids[$name]}
            rss_before=$(rss "$pid")
            info_before=$(info "$port" used_memory)
            python3 ci/bench_fill.py "$port" "$ITEMS" "$size"
            awk -v n="$ITEMS" -v r="$(($(rss "$pid") - rss_before))" -v i="$(($(info "$port" used_memory) - info_before))" \
                -v kept="$(redis-cli -p "$port" dbsize)" -v size="$size" -v name="$name" 'BEGIN {
                printf "%3d B  %-6s  %.1f by RSS, %.1f by INFO (%d items kept)\n", size, name, r / n - 16 - size, i / n - 16 - size, kept }'
            quit "$name"
        done
    done
}

# System calls per request, counted from outside.
measure_syscalls() {
    local load_name name requests=100000 tracer connections depth size keys
    echo "system calls per request, by strace"
    for load_name in a b; do
        read -r connections depth size keys <<<"${load[$load_name]}"
        for name in ours valkey; do
            launch "$name"
            python3 ci/bench_fill.py "${ports[$name]}" "$keys" "$size"
            strace -f -c -o "$log/strace" -p "${pids[$name]}" 2>"$log/attached" &
            tracer=$!
            until grep -q attached "$log/attached"; do sleep 0.1; done
            client "${ports[$name]}" -c "$connections" -P "$depth" -d "$size" -r "$keys" -t get -n "$requests" >/dev/null
            kill -INT "$tracer"
            wait "$tracer" || true
            awk -v n="$requests" -v name="$name" -v l="$load_name" '$NF == "total" { printf "%s  %-6s  %.4f\n", l, name, $4 / n }' "$log/strace"
            quit "$name"
        done
    done
}

for part in $PARTS; do
    "measure_$part"
done
