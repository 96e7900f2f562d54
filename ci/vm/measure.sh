#!/usr/bin/env bash
# Measures what each kernel setting of sysctl/90-kv-cache.conf buys, where that can be shown without a network card:
#
#     ci/vm/measure.sh [idle] [loss] [window] [storm] [ports] [pages]
#
# A client, a router and a server have a network namespace each; the router delays and loses packets by netem,
# or without such a kernel a process of ours does. In a machine of its own, with netem and fq: ci/vm.sh --for 3600 ci/vm/measure.sh idle loss window
# KV_MEASURE_SERVER and KV_MEASURE_BENCH name the binaries (release builds), KV_MEASURE_ROUNDS how often each pair takes turns.
#
# Each figure is printed as a line of Markdown; docs/tuning.md has them. `pages` sets the machine's huge pages while it runs.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -gt 0 ] || set -- idle loss window storm ports pages
found() {
    local candidate
    for candidate in "$@"; do
        if [ -x "$candidate" ]; then echo "$candidate"; return; fi
    done
    echo "ci/vm/measure.sh: there is none of $*; cargo build --release --workspace" >&2
    return 1
}
KV_MEASURE_SERVER=${KV_MEASURE_SERVER:-$(found bin/kv-server target/release/kv-server)}
KV_MEASURE_BENCH=${KV_MEASURE_BENCH:-$(found bin/uring-bench target/release/uring-bench)}
export KV_MEASURE_SERVER KV_MEASURE_BENCH

# Names of their own for this process, so that two runs do not meet.
tag=kvm$$
export KV_MEASURE_TAG=$tag
huge_pages=/sys/kernel/mm/transparent_hugepage/enabled
huge_before=$(sed 's/.*\[\(.*\)\].*/\1/' "$huge_pages" 2>/dev/null || true)
allowed=/proc/sys/net/ipv4/tcp_allowed_congestion_control
allowed_before=$(cat "$allowed")
undo() {
    local name pid
    echo "$allowed_before" >"$allowed"
    for name in s r c; do
        for pid in $(ip netns pids "$tag$name" 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
        ip netns del "$tag$name" 2>/dev/null || true
    done
    [[ " $* " != *" pages "* ]] || echo "$huge_before" >"$huge_pages"
}
trap 'undo "$@"' EXIT

modprobe -qa sch_netem sch_fq tcp_bbr veth 2>/dev/null || true
# A namespace may choose among those only, and the machine's own default need not be cubic.
echo "$allowed_before cubic bbr" >"$allowed"
for name in s r c; do
    ip netns add "$tag$name"
    ip -n "$tag$name" link set lo up
done
# netem needs a kernel that has it; else ci/vm/line.py is the router.
if ip netns exec "$tag"r tc qdisc add dev lo root netem 2>/dev/null; then
    export KV_MEASURE_NETEM=1
    # server 10.9.1.1 -- 10.9.1.2 router 10.9.2.2 -- 10.9.2.1 client
    ip -n "$tag"s link add toward type veth peer name server netns "$tag"r
    ip -n "$tag"c link add toward type veth peer name client netns "$tag"r
    ip -n "$tag"s addr add 10.9.1.1/24 dev toward
    ip -n "$tag"r addr add 10.9.1.2/24 dev server
    ip -n "$tag"r addr add 10.9.2.2/24 dev client
    ip -n "$tag"c addr add 10.9.2.1/24 dev toward
    for link in s:toward r:server r:client c:toward; do ip -n "$tag${link%%:*}" link set "${link##*:}" up; done
    ip -n "$tag"s route add default via 10.9.1.2
    ip -n "$tag"c route add default via 10.9.2.2
    ip netns exec "$tag"r sysctl -qw net.ipv4.ip_forward=1
fi
# Nothing that one connection has learned may help or hinder the next.
for name in s c; do ip netns exec "$tag$name" sysctl -qw net.ipv4.tcp_no_metrics_save=1; done

for what in "$@"; do
    echo
    python3 ci/vm/measure.py "$what"
done
