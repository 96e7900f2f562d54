#!/usr/bin/env bash
# Real clients, as users install them, against a real server; and docs/compatibility.md, which says what works.
#
#     ci/clients.sh [SERVER-BINARY]     all of them against this server on one port; the table must be as committed
#     ci/clients.sh --update            the same, and writes the table
#     ci/clients.sh --originals         the same steps against Valkey and memcached: are the steps themselves right?
#     ci/clients.sh --only TEXT …       only scripts and tools whose name has TEXT in it
#
# The scripts in ci/clients/ print a line of JSON for each step (ci/clients/harness.py), and so does `check` here.
set -euo pipefail
cd "$(dirname "$0")/.."

update=
originals=
only=
binary=
while [ $# -gt 0 ]; do
    case $1 in
        --update) update=1 ;;
        --originals) originals=1 ;;
        --only) only=$2 && shift ;;
        -*) sed -n '2,9s/^# \?//p' "$0" >&2 && exit 2 ;;
        *) binary=$1 ;;
    esac
    shift
done

ci/setup.sh
# shellcheck source=ci/lib.sh
. ci/lib.sh
# shellcheck source=ci/clients/tools.sh
. ci/clients/tools.sh

work=$(mktemp -d)
lines=$work/lines
: >"$lines"

if [ -n "$originals" ]; then
    redis_port=$(free_port)
    memcached_port=$(free_port)
    start "$work/valkey" "$redis_port" .ci/cache/valkey-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work"
    memcached -l 127.0.0.1 -p "$memcached_port" -U 0 -u root -m 256 >"$work/memcached" 2>&1 &
    started+=("$!")
    redis=(--port "$redis_port" --server valkey)
    memcached=(--port "$memcached_port" --server memcached)
else
    if [ -z "$binary" ]; then
        cargo build --quiet --bin kv-server
        binary=target/debug/kv-server
    fi
    redis_port=$(free_port)
    memcached_port=$redis_port
    admin=$(free_port)
    start "$work/server" "$redis_port" "$binary" --port "$redis_port" --admin-port "$admin" --max-memory 256MB --no-pin
    server=$server_pid
    redis=(--port "$redis_port")
    memcached=("${redis[@]}")
fi

failed=0
report() {
    local status=$1 name=$2 output=$3
    if [ "$status" = 0 ]; then
        echo "ok      $name"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n%s\n' "$name" "$output"
    fi
}

# script NAME COMMAND...: runs a script of steps. What it prints beside them is shown if it fails.
script() {
    local name=$1 status=0
    shift
    [[ "$name" == *"$only"* ]] || return 0
    timeout 120 "$@" >"$work/steps" 2>"$work/errors" || status=$?
    # Some clients print to standard output themselves.
    grep '^{"table"' "$work/steps" >>"$lines" || status=1
    report "$status" "$name" "$(grep '"ok": \?false' "$work/steps" || tail -n 20 "$work/errors")"
}

# check TABLE CLIENT FEATURE COMMAND...: one step that is a command here.
check() {
    local table=$1 client=$2 feature=$3 output status=0
    shift 3
    [[ "$client" == *"$only"* ]] || return 0
    output=$("$@" 2>&1) || status=$?
    printf '{"table": "%s", "client": "%s", "feature": "%s", "ok": %s}\n' \
        "$table" "$client" "$feature" "$([ "$status" = 0 ] && echo true || echo false)" >>"$lines"
    report "$status" "$client: $feature" "$output"
}

python() {
    local name=$1
    shift
    script "$name" .ci/cache/venv/bin/python -W ignore "ci/clients/$name.py" "$@"
}
node_script() {
    local name=$1
    shift
    script "node $name" env NODE_PATH="$PWD/.ci/cache/node/node_modules" node "ci/clients/node/$name.js" "$@"
}

for name in redis_py redis_asyncio valkey_py; do python "$name" "${redis[@]}"; done
for name in node_redis ioredis; do node_script "$name" "${redis[@]}"; done
redis_tools
for name in pymemcache_text python_memcached meta_memcache_meta pylibmc_both bmemcached_binary; do python "$name" "${memcached[@]}"; done
for name in memcached memjs; do node_script "$name" "${memcached[@]}"; done
memcached_tools
for name in django_caches flask_dogpile; do
    python "$name" "${redis[@]}"
    [ -z "$originals" ] || python "$name" "${memcached[@]}"
done
python celery_results "${redis[@]}"
node_script frameworks "${redis[@]}"

if [ -z "$originals" ]; then
    python http_requests "${redis[@]}"
    http_tools
    other_tools
    kill -TERM "$server"
    status=0
    wait "$server" || status=$?
    report "$status" "SIGTERM ends it with status 0" "status $status"
    [ "$failed" = 0 ] || { echo "the server said:" && tail -n 5 "$work/server"; }
fi

passed=$(grep -c '"ok": \?true' "$lines" || true)
echo "clients: $passed steps passed, $failed scripts or tools failed"

table=docs/compatibility.md
if [ -n "$update" ]; then
    .ci/cache/venv/bin/python ci/compatibility.py "$lines" >"$work/table"
    cp "$work/table" "$table"
elif [ -z "$originals$only" ] && [ "$failed" = 0 ]; then
    .ci/cache/venv/bin/python ci/compatibility.py "$lines" >"$work/table"
    if ! diff -u "$table" "$work/table"; then
        echo "$table is not what the clients found; write it anew: ci/clients.sh --update"
        failed=1
    fi
fi
rm -rf "$work"
[ "$failed" = 0 ]
