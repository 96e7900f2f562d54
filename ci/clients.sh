#!/usr/bin/env bash
# Real clients, as users have them, against a real server: ci/clients.sh [SERVER-BINARY]
# redis-py (RESP3 by default, RESP2, asyncio), valkey-py, redis-cli, redis-benchmark, netcat, and a clean end by SIGTERM.
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
port=$(free_port)
admin=$(free_port)
log=$(mktemp)
start "$log" "$port" "$binary" --port "$port" --admin-port "$admin" --max-memory 256MB --no-pin

passed=0
failed=0
# check NAME COMMAND...: runs one check, shows its output only if it fails.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n%s\n' "$name" "$output"
    fi
}

# expect WANTED COMMAND...: the command's output must be this text.
expect() {
    local wanted=$1 got
    shift
    got=$("$@")
    [ "$got" = "$wanted" ] || { printf 'wanted: %s\ngot:    %s\n' "$wanted" "$got"; return 1; }
}

cli() { redis-cli -p "$port" "$@"; }

netcat_json() {
    local got
    got=$(printf '{"key": "town", "value": "Ulm"}\n{"key": "town"}\n{"key": "nowhere"}\n' | nc -q 2 127.0.0.1 "$port")
    local wanted='{"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}'
    wanted+='{"status":"OK","message":"","key":"town","value":"Ulm"}'
    wanted+='{"status":"OK","message":"Key not found.","key":null,"value":null}'
    [ "$got" = "$wanted" ] || { printf 'wanted: %s\ngot:    %s\n' "$wanted" "$got"; return 1; }
}

benchmark() {
    local output
    output=$(redis-benchmark -p "$port" "$@" -q)
    ! grep -qi error <<<"$output" && grep -q 'requests per second' <<<"$output"
}

scan_of_cli() {
    [ "$(cli --scan --pattern 'cli:*' | sort | tr '\n' ' ')" = "cli:1 cli:2 cli:3 " ]
}

python=.ci/cache/venv/bin/python
for script in ci/clients/*.py; do
    check "$(basename "$script")" "$python" "$script" "$port"
done

check "redis-cli set" expect OK cli set cli:1 'a value with spaces' EX 100
check "redis-cli get" expect 'a value with spaces' cli get cli:1
check "redis-cli -3" expect '1) "1"' bash -c "redis-cli -p $port -3 --no-raw del cli:1 | sed 's/^(integer) \(.*\)/1) \"\1\"/'"
check "redis-cli mset" expect OK cli mset cli:1 1 cli:2 2 cli:3 3
check "redis-cli --scan" scan_of_cli
check "redis-cli --bigkeys" cli --bigkeys
check "redis-cli --memkeys" cli --memkeys
check "redis-cli --pipe" bash -c "printf 'SET p:1 1\r\nSET p:2 2\r\n' | redis-cli -p $port --pipe | grep -q 'errors: 0, replies: 2'"
check "redis-cli -x" bash -c "printf 'from a file' | redis-cli -p $port -x set cli:x && [ \"\$(redis-cli -p $port get cli:x)\" = 'from a file' ]"
check "netcat, JSON lines" netcat_json
check "netcat, inline command" bash -c "[ \"\$(printf 'PING\r\nQUIT\r\n' | nc -q 2 127.0.0.1 $port | tr -d '\r\n')\" = '+PONG+OK' ]"
check "redis-benchmark -P 16" benchmark -P 16 -n 100000 -r 10000 -t ping,set,get,incr,mset
check "redis-benchmark without pipelining" benchmark -n 20000 -t set,get -d 1000
check "redis-benchmark -3" benchmark -3 -P 16 -n 20000 -t set,get
check "healthz" bash -c "exec 3<>/dev/tcp/127.0.0.1/$admin && printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3 && head -1 <&3 | grep -q ' 200 '"

kill -TERM "$server_pid"
status=0
wait "$server_pid" || status=$?
check "SIGTERM ends it with status 0" test "$status" = 0
[ "$failed" = 0 ] || cat "$log"
rm -f "$log"

echo "clients: $passed passed, $failed failed"
[ "$failed" = 0 ]
