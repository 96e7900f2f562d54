# Command lines and load generators as clients; sourced by ci/clients.sh, whose `check` and ports they use.
# shellcheck shell=bash disable=SC2154

# Debian's packages get their fixes under a last number that a table need not follow.
two_numbers() { grep -oE '[0-9]+\.[0-9]+' | head -1; }

# expect WANTED COMMAND...: the command's output must be this text.
expect() {
    local wanted=$1 got
    shift
    got=$("$@")
    [ "$got" = "$wanted" ] || { printf 'wanted: %s\ngot:    %s\n' "$wanted" "$got"; return 1; }
}

cli() { redis-cli -p "$redis_port" "$@"; }
cli3() { cli -3 "$@"; }
# What is piped into a client: bytes, with printf's escapes.
to_cli() { printf '%b' "$1" | cli; }
to_port() { printf '%b' "$2" | nc -q 2 127.0.0.1 "$1"; }

cli_get_set() {
    expect OK cli set cli:1 'a value with spaces' EX 100 && expect 'a value with spaces' cli get cli:1 &&
        printf 'from a file' | cli -x set cli:x && expect 'from a file' cli3 get cli:x
}
cli_scan() { cli mset cli:1 1 cli:2 2 cli:3 3 && cli del cli:x && expect 'cli:1 cli:2 cli:3 ' bash -c "redis-cli -p $redis_port --scan --pattern 'cli:*' | sort | tr '\n' ' '"; }
cli_pipe() { printf 'SET p:1 1\r\nSET p:2 2\r\n' | cli --pipe | grep -q 'errors: 0, replies: 2'; }
cli_multi() { expect $'OK\nQUEUED\nQUEUED\nOK\n2' to_cli 'MULTI\nSET cli:n 1\nINCR cli:n\nEXEC\n'; }
cli_eval() { expect 'cli:e 7' bash -c "redis-cli -p $redis_port --eval <(echo 'return {KEYS[1], ARGV[1]}') cli:e , 7 | tr '\n' ' ' | sed 's/ $//'"; }
cli_subscribe() {
    local listener status=0
    redis-cli -p "$redis_port" subscribe cli:news >"$work/news" 2>&1 &
    listener=$!
    for _ in $(seq 100); do
        [ "$(cli publish cli:news hello)" = 1 ] && break
        sleep 0.05
    done
    for _ in $(seq 100); do
        grep -q '^hello$' "$work/news" && break
        sleep 0.05
    done
    grep -q '^hello$' "$work/news" || { cat "$work/news" && status=1; }
    kill "$listener" 2>/dev/null || true
    wait "$listener" 2>/dev/null || true
    return "$status"
}
cli_statistics() { cli --bigkeys >/dev/null && cli --memkeys >/dev/null && cli --latency -i 1 --raw </dev/null | grep -q '[0-9]'; }

benchmark() {
    local output
    output=$(redis-benchmark -p "$redis_port" "$@" -q)
    ! grep -qi error <<<"$output" && grep -q 'requests per second' <<<"$output"
}

redis_tools() {
    local client
    client="redis-cli $(redis-cli --version | two_numbers)"
    check Redis "$client" "GET, SET EX" cli_get_set
    check Redis "$client" "SCAN, KEYS" cli_scan
    check Redis "$client" "pipeline" cli_pipe
    check Redis "$client" "MULTI/EXEC" cli_multi
    check Redis "$client" "EVAL, EVALSHA, SCRIPT LOAD" cli_eval
    check Redis "$client" "PUBLISH, SUBSCRIBE" cli_subscribe
    check Redis "$client" "INFO, CONFIG GET, CLIENT" cli_statistics
    check Tools "netcat" "inline commands: PING, QUIT" expect $'+PONG\r\n+OK\r' to_port "$redis_port" 'PING\r\nQUIT\r\n'
    client="redis-benchmark $(redis-benchmark --version | two_numbers)"
    check Tools "$client" "ping, set, get, incr, mset, 16 at a time" benchmark -P 16 -n 100000 -r 10000 -t ping,set,get,incr,mset
    check Tools "$client" "set, get, one at a time" benchmark -n 20000 -t set,get -d 1000
    check Tools "$client" "RESP3" benchmark -3 -P 16 -n 20000 -t set,get
}

# One protocol: memc NAME… runs a tool of libmemcached over it.
memc_protocol=()
memc() {
    local name=$1
    shift
    "memc$name" "${memc_protocol[@]}" --servers="127.0.0.1:$memcached_port" "$@"
}
absent() { ! memc exist "$1"; }
memc_get_set() { printf 'from a file' >"$work/file" && memc cp --flag=5 --expire=100 "$work/file" && expect 'from a file' memc cat file && memc exist file; }
memc_multiget() { cp "$work/file" "$work/second" && memc cp "$work/second" && [ "$(memc cat file second none 2>/dev/null | tr -d '\n')" = 'from a filefrom a file' ]; }
memc_delete() { memc rm file && absent file; }
memc_flush() { memc cp "$work/second" && memc exist second && memc flush && absent second && memc stat | grep -q version; }
memc_stats() { memc stat | grep -qE 'curr_connections: [1-9]'; }
memc_load() { memc slap --concurrency=4 --execute-number=2000 --test="$1" --flush; }
conformance() {
    local output option=-a
    [ "$1" = text ] || option=-b
    output=$(timeout 60 memccapable -h 127.0.0.1 -p "$memcached_port" "$option") || true
    grep -q '^All tests passed' <<<"$output" || { grep -v '\[pass\]' <<<"$output"; return 1; }
}

memcached_tools() {
    local client protocol table
    client="libmemcached $(memccat --version | grep -oE 'libmemcached v.*' | two_numbers)"
    for protocol in text binary; do
        table="memcached $protocol"
        memc_protocol=()
        [ "$protocol" = text ] || memc_protocol=(--binary)
        check "$table" "$client" "get, set" memc_get_set
        check "$table" "$client" "multiget" memc_multiget
        check "$table" "$client" "touch" memc touch --expire=100 file
        check "$table" "$client" "delete" memc_delete
        check "$table" "$client" "stats, version" memc_stats
        check "$table" "$client" "flush_all" memc_flush
        check "$table" "$client" "memccapable's conformance tests" conformance "$protocol"
        check Tools "memcslap" "memcached $protocol: set, get, mget from 4 threads" memc_loads
    done
    check "memcached meta" "netcat" "me" meta_debug
    check "memcached meta" "netcat" "quiet (q) and mn" expect $'HD\r\nMN\r' to_port "$memcached_port" 'ms nc:1 2 T60\r\nok\r\nmg none v q\r\nmn\r\n'
    check "memcached text" "netcat" "noreply" expect $'VALUE nc:1 7 2\r\nhi\r\nEND\r' to_port "$memcached_port" 'set nc:1 7 60 2 noreply\r\nhi\r\nget nc:1\r\nquit\r\n'
}
memc_loads() { memc_load set && memc_load get && memc_load mget; }
meta_debug() { to_port "$memcached_port" 'ms nc:2 2 T60\r\nok\r\nme nc:2\r\nquit\r\n' | grep -q '^ME nc:2 .*exp='; }

curl_key() { curl --silent --show-error --fail --max-time 10 "$@" "http://127.0.0.1:$redis_port/v1/keys/$key"; }
curl_methods() {
    local key=curl%2F1
    curl_key --request PUT --data-binary 'from curl' && expect 'from curl' curl_key &&
        curl_key --head | grep -qi '^content-length: 9' && curl_key --request DELETE && ! curl_key --output /dev/null
}
# curl waits for 100 Continue before it sends a large body.
curl_upload() {
    local key=upload
    head -c 3000000 /dev/urandom >"$work/upload" && curl_key --upload-file "$work/upload" &&
        curl_key --output "$work/download" && cmp "$work/upload" "$work/download" &&
        curl_key --http1.0 --output "$work/download" && cmp "$work/upload" "$work/download"
}
curl_etag() {
    local key=etag
    curl_key --request PUT --data-binary first &&
        curl_key --etag-save "$work/etag" --output /dev/null &&
        [ "$(curl_key --etag-compare "$work/etag" --write-out '%{http_code}')" = 304 ]
}
curl_origin() { local key=etag && [ "$(curl_key --no-fail --header 'Origin: https://evil.example' --output /dev/null --write-out '%{http_code}')" = 403 ]; }
curl_health() { curl --silent --fail --max-time 10 "http://127.0.0.1:$redis_port/healthz" && curl --silent --fail --max-time 10 "http://127.0.0.1:$admin/healthz"; }
curl_batch() {
    curl --silent --fail --max-time 10 --json '{"ops":[{"op":"set","key":"a","value":"x"},{"op":"get","key":"a"}]}' \
        "http://127.0.0.1:$redis_port/v1/batch" | grep -q '"value":"x"'
}

# load OPTIONS...: every answer must be one of success.
load() {
    local output
    output=$(wrk --threads 1 --connections 16 --duration 1s "$@" "http://127.0.0.1:$redis_port/v1/keys/wrk")
    if grep -qE 'Non-2xx|Socket errors' <<<"$output" || ! grep -q 'Requests/sec: *[1-9]' <<<"$output"; then
        echo "$output"
        return 1
    fi
}
wrk_put() { echo 'wrk.method = "PUT" wrk.body = string.rep("x", 100)' >"$work/put.lua" && load --script "$work/put.lua"; }

http_tools() {
    local client
    client="curl $(curl --version | two_numbers)"
    check HTTP "$client" "PUT, GET, HEAD, DELETE" curl_methods
    check HTTP "$client" "HTTP/1.0, Expect: 100-continue" curl_upload
    check HTTP "$client" "ETag, If-None-Match: 304" curl_etag
    check HTTP "$client" "POST /v1/batch" curl_batch
    check HTTP "$client" "GET /healthz" curl_health
    check HTTP "$client" "a web page's request is refused (Origin: 403)" curl_origin
    client="wrk $({ wrk --version 2>&1 || true; } | two_numbers)"
    check Tools "$client" "HTTP: PUT over 16 connections" wrk_put
    check Tools "$client" "HTTP: GET over 16 connections" load
}

json_lines() {
    local wanted='{"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}'
    wanted+='{"status":"OK","message":"","key":"town","value":"Ulm"}'
    wanted+='{"status":"OK","message":"Key not found.","key":null,"value":null}'
    expect "$wanted" to_port "$redis_port" '{"key": "town", "value": "Ulm"}\n{"key": "town"}\n{"key": "nowhere"}\n'
}
json_client() {
    PYTHONPATH=sdk/python python3 -c "
from kv_cache import Client
with Client('127.0.0.1', $redis_port) as cache:
    cache.set('town', 'Ulm')
    assert cache.get('town') == 'Ulm' and cache.get('nowhere') is None
    assert cache.pipeline().set('a', '1').get('a').execute() == [None, '1']"
}

other_tools() {
    local table="JSON lines and protobuf"
    check "$table" "netcat" "JSON lines: get, set" json_lines
    check "$table" "sdk/python" "JSON lines: get, set" json_client
    check "$table" "sdk/python" "protobuf: the example of sdk/python" .ci/cache/venv/bin/python sdk/python/protobuf_example.py --port "$redis_port"
}
