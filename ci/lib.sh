# Shared by the scripts beside it: free ports, starting a server, ending what was started.
# shellcheck shell=bash

# Ends every process that `start` started, whatever happens.
started=()
end_all() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
}
trap end_all EXIT

# A port that is free now.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start LOG PORT COMMAND...: runs a server in the background and waits until PORT answers PING. Sets `server_pid`.
start() {
    local log=$1 port=$2
    shift 2
    "$@" >"$log" 2>&1 &
    server_pid=$!
    started+=("$server_pid")
    for _ in $(seq 600); do
        [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && return 0
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server does not answer on port $port:" >&2
    cat "$log" >&2
    return 1
}
