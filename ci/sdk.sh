#!/usr/bin/env bash
# What is in sdk/, against a real server: ci/sdk.sh [SERVER-BINARY]
# The Python client's tests, then five seconds of load from a Locust master and two workers, and two from k6 where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
ci/setup.sh
# shellcheck source=ci/lib.sh
. ci/lib.sh

binary=${1:-}
if [ -z "$binary" ]; then
    cargo build --quiet --bin kv-server
    binary=target/debug/kv-server
fi
venv=$PWD/.ci/cache/venv/bin
log=$(mktemp -d)

KV_SERVER=$(realpath "$binary") "$venv/python" -W error -m unittest discover sdk/python

port=$(free_port)
start "$log/server" "$port" "$binary" --port "$port" --admin-port "$(free_port)" --max-memory 256MB --no-pin

# The workers end when the master says so.
locust() { LOAD_KEYS=1000 "$venv/locust" -f sdk/locustfile.py --host "127.0.0.1:$port" --loglevel WARNING "$@"; }
meeting=$(free_port)
for worker in 1 2; do
    locust --worker --master-port "$meeting" >"$log/worker-$worker" 2>&1 &
    started+=("$!")
done
status=0
locust --master --master-bind-port "$meeting" --expect-workers 2 --headless --users 9 --spawn-rate 8 --run-time 5s \
    --only-summary --csv "$log/load" >"$log/master" 2>&1 || status=$?

# Locust's own status tells of failures; that all protocols were spoken is for its table to tell.
if [ "$status" != 0 ] ||
    ! awk -F, '$2 ~ /^GET/ && $3 > 0 { spoken[$1] } END { exit !("RESP" in spoken && "JSON lines" in spoken && "HTTP" in spoken) }' "$log/load_stats.csv"; then
    echo "the load from Locust failed, status $status:"
    tail -n 60 "$log"/{master,worker-1,worker-2,server}
    exit 1
fi
awk -F, '$2 == "Aggregated" { printf "Locust, two workers: %d round trips, %d failed\n", $3, $4 }' "$log/load_stats.csv"

if command -v k6 >/dev/null; then
    k6 run --quiet --no-usage-report --vus 4 --duration 2s -e TARGET="127.0.0.1:$port" -e KEYS=1000 sdk/k6/resp.js >"$log/k6" 2>&1 ||
        { cat "$log/k6"; exit 1; }
    awk '$1 ~ /^iterations\./ { print "k6: " $2 " requests" }' "$log/k6"
else
    echo "skipped: k6 is not installed, sdk/k6/resp.js was not run"
fi
rm -rf "$log"
