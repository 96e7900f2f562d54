#!/usr/bin/env bash
# What ci/vm.sh runs in its machine: installs KV-Cache by install.sh on a booted system, looks at the service from all sides, boots
# again, looks once more, uninstalls. Each check is one line, `ok` or `FAILED`; the exit code tells whether any failed.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
state=/root/guest
mkdir -p "$state"
kernel=$(uname -r)

ask() { python3 ci/vm/ask.py "$@"; }
section() { printf '\n== %s (boot %s, %ss)\n' "$1" "$KV_VM_BOOT" "$SECONDS"; }

# check WHAT COMMAND...: one line; what the command said only if it failed.
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok      $what"
        echo ok >>"$state/passed"
    else
        echo "FAILED  $what"
        head -n 40 <<<"        ${said//$'\n'/$'\n'        }"
        echo "$what" >>"$state/failed"
    fi
}

# is WANTED COMMAND...: the command's output is that.
is() {
    local wanted=$1 now
    shift
    now=$("$@" 2>&1) || true
    [ "$now" = "$wanted" ] || { echo "$now, not $wanted"; return 1; }
}

# says PATTERN COMMAND...: the command succeeds and has a line of that pattern.
says() {
    local pattern=$1 now
    shift
    now=$("$@" 2>&1) || { echo "$now"; return 1; }
    grep -qE -- "$pattern" <<<"$now" || { echo "no line of '$pattern' in:"; echo "$now"; return 1; }
}

# within SECONDS COMMAND...: it succeeds before so many seconds have gone.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -gt "$until" ]; then "$@"; return 1; fi
        sleep 0.5
    done
}

refuses() { ! "$@"; }
main_pid() { systemctl show -P MainPID kv-cache; }
limit() { awk -v what="$1" 'index($0, what) == 1 { print $(NF - 2), $(NF - 1) }' "/proc/$(main_pid)/limits"; }
field_of_status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$(main_pid)/status"; }
engine() { ask INFO | tr -d '\r' | awk -F: '$1 == "io_engine" { print $2 }'; }
answers() { is PONG ask PING; }
current() { tr -s '\t ' '  ' <"/proc/sys/${1//.//}" | sed 's/ $//'; }

# Each setting of our file as `key value`; `-` before a key means that a kernel may lack it.
wanted_settings() { sed -nE 's/^-?([a-z][^ =]*) *= *(.*)$/\1 \2/p' sysctl/90-kv-cache.conf; }

sysctls_hold() {
    local key value wrong=0
    while read -r key value; do
        [ -e "/proc/sys/${key//.//}" ] || continue
        [ "$(current "$key")" = "$value" ] || { echo "$key is $(current "$key"), not $value"; wrong=1; }
    done < <(wanted_settings)
    return "$wrong"
}

save_sysctls() {
    local key rest
    while read -r key rest; do
        [ ! -e "/proc/sys/${key//.//}" ] || echo "$key $(current "$key")"
    done < <(wanted_settings) >"$1"
}

booted() { [[ $(systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; }
sent_by() { ss -tni "( sport = :7171 )" | grep -ow "$1" | head -n 1; }

# While a client is connected, what congestion control does the server's side of it use?
congestion_of_a_connection() {
    local seen
    exec 7<>/dev/tcp/127.0.0.1/7171
    seen=$(sent_by bbr || true)
    exec 7>&-
    [ "$seen" = bbr ] || { ss -tni; return 1; }
}

before_installing() {
    section "before"
    uname -a
    save_sysctls "$state/sysctls"
    cat /sys/kernel/mm/transparent_hugepage/enabled >"$state/thp"
    find /etc /usr/local /var/lib -newer "$state" -type f 2>/dev/null | sort >"$state/files" || true
    set +e
    bin/kv-server doctor >"$state/doctor.before" 2>&1
    echo "doctor before: exit $?"
    set -e
    cat "$state/doctor.before"
}

installing() {
    section "install"
    check "dry run" ./install.sh --dry-run --binary bin/kv-server
    check "a dry run makes nothing" refuses getent passwd kv-cache
    check "--check says that nothing is installed" refuses ./install.sh --check
    if ./install.sh --binary bin/kv-server >"$state/install" 2>&1; then
        check "install.sh" true
    else
        cat "$state/install"
        check "install.sh" false
        systemctl status --no-pager kv-cache || true
        journalctl --no-pager -u kv-cache -o cat | tail -n 40 || true
    fi
    check "a second run changes nothing" says "everything was as it should be" ./install.sh --binary bin/kv-server
    check "--check finds no drift" ./install.sh --check
    sysctl -qw net.core.somaxconn=128
    check "--check finds drift" refuses ./install.sh --check
    ./install.sh --binary bin/kv-server >/dev/null 2>&1 || true
    check "the next run mends it" is 16384 current net.core.somaxconn
}

the_service() {
    section "service"
    check "answers" within 30 answers
    check "active" is active systemctl is-active kv-cache
    check "Type=notify" is notify systemctl show -P Type kv-cache
    check "enabled" is enabled systemctl is-enabled kv-cache
    check "not root" is kv-cache ps -o user= -p "$(main_pid)"
    check "nofile" is "1048576 1048576" limit "Max open files"
    check "memlock" is "unlimited unlimited" limit "Max locked memory"
    check "no capability" is 0000000000000000 field_of_status CapEff
    check "no new privileges" is 1 field_of_status NoNewPrivs
    check "system calls filtered" is 2 field_of_status Seccomp
    check "no swap" is 0 cat /sys/fs/cgroup/system.slice/kv-cache.service/memory.swap.max
    check "OOM score" is -500 cat "/proc/$(main_pid)/oom_score_adj"
    check "io_uring on Linux $kernel in the sandbox" is io_uring engine
    check "memory locked or charged is no trouble" ask SET a b
    check "nothing worse than a warning in the journal" is "" journalctl -q --no-pager -u kv-cache -p err -o cat
    systemd-analyze security --no-pager kv-cache >"$state/security" 2>&1 || true
    tail -n 1 "$state/security"
    awk '$1 == "✗" && $NF >= 0.2 { print "        " $0 }' "$state/security" | cut -c1-140
}

xps_of() {
    local queue masks=()
    for queue in "/sys/class/net/$1/queues"/tx-*; do masks+=("$(printf '%x' "0x$(cat "$queue/xps_cpus")")"); done
    echo "${masks[*]}"
}

# A server of its own, with a longer queue than 4096: systems have that as their most, not as the kernel's.
queue_of() {
    local pid
    kv-server --port 7990 --admin-port 0 --bind 127.0.0.1 --threads 1 --no-pin --max-memory 64MB --tcp-backlog "$1" >/dev/null 2>&1 &
    pid=$!
    within 30 is PONG ask -p 7990 PING
    ss -Hltn "sport = :7990" | awk '{ print $3 }'
    kill "$pid"
    wait "$pid" || true
}

the_machine() {
    section "settings of the machine"
    check "kernel settings" sysctls_hold
    check "transparent huge pages" says '\[madvise\]' cat /sys/kernel/mm/transparent_hugepage/enabled
    check "kv-cache-tune is done" is active systemctl is-active kv-cache-tune
    check "kv-cache-tune finds nothing amiss" /usr/local/sbin/kv-cache-tune --check
    check "RPS over both CPUs" is 3 cat /sys/class/net/eth0/queues/rx-0/rps_cpus
    check "fq on the card" says 'qdisc fq .*root|qdisc fq .*parent' tc qdisc show dev eth0
    check "BBR on a connection" congestion_of_a_connection
    grep -E 'virtio.*(input|output)' /proc/interrupts | while read -r irq rest; do
        echo "        interrupt ${irq%:} (${rest##* }) on CPU $(cat "/proc/irq/${irq%:}/smp_affinity_list")"
    done
    check "a queue of connections as long as somaxconn" is 16384 queue_of 20000
    # A card with more send queues than the machine's own.
    ip link add many numtxqueues 4 numrxqueues 1 type veth peer name other
    KV_TUNE_NIC=many /usr/local/sbin/kv-cache-tune >/dev/null || true
    check "XPS of four queues" is "1 2 1 2" xps_of many
    ip link del many
}

doctor_after() {
    section "doctor"
    set +e
    kv-server doctor >"$state/doctor.after" 2>&1
    local code=$?
    set -e
    cat "$state/doctor.after"
    echo "doctor after: exit $code"
    check "the doctor finds nothing that keeps the server from running" test "$code" -lt 2
    check "the doctor's JSON can be read" bash -c "kv-server doctor --json | python3 -m json.tool"
}

# A client connects all the time while the service restarts; $state/storm has what became of its connections.
restart_under_connections() {
    python3 ci/vm/storm.py 7171 0.02 >"$state/storm" &
    local storm=$!
    sleep 2
    systemctl restart kv-cache
    sleep 2
    kill -TERM "$storm"
    wait "$storm" || true
    echo "        connections during a restart: $(paste -sd, "$state/storm")"
}

restarted_by_watchdog() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && answers; }

the_watchdog() {
    section "watchdog, stop, restart"
    mkdir -p /run/systemd/system/kv-cache.service.d
    printf '[Service]\nWatchdogSec=10\nTimeoutAbortSec=5\n' >/run/systemd/system/kv-cache.service.d/test.conf
    systemctl daemon-reload
    systemctl restart kv-cache
    local pid began
    pid=$(main_pid)
    sleep 12
    check "the watchdog leaves a healthy server alone" is "$pid" main_pid
    began=$SECONDS
    systemctl kill -s STOP kv-cache
    check "the watchdog starts a hung server anew" within 60 restarted_by_watchdog "$pid"
    echo "        after $((SECONDS - began)) s, with WatchdogSec=10"
    check "systemd says why" says "[Ww]atchdog timeout" journalctl --no-pager -u kv-cache -o cat
    rm /run/systemd/system/kv-cache.service.d/test.conf
    systemctl daemon-reload
    systemctl restart kv-cache

    # A client that is connected and silent must not keep the server from ending.
    exec 8<>/dev/tcp/127.0.0.1/7171
    began=$SECONDS
    check "stops" systemctl stop kv-cache
    exec 8>&-
    echo "        with an idle client, in $((SECONDS - began)) s"
    check "stopped in good order" is success systemctl show -P Result kv-cache
    check "exit code" is 0 systemctl show -P ExecMainStatus kv-cache
    check "the port is free" refuses ask PING
    systemctl start kv-cache

    # Nobody holds the port meanwhile; how that is with kv-cache.socket is seen below.
    restart_under_connections
}

listeners() { ss -Hltn "sport = :7171" | wc -l; }

the_socket() {
    section "socket activation"
    # More starts in a minute than the unit allows: what was counted so far is forgotten.
    systemctl reset-failed kv-cache
    systemctl stop kv-cache
    check "socket unit" systemctl enable --now kv-cache.socket
    check "the service waits" is inactive systemctl is-active kv-cache
    check "the first connection starts it" within 60 answers
    systemctl --quiet is-active kv-cache || journalctl --no-pager -u kv-cache -u kv-cache.socket -o cat -n 30
    check "it is active" within 20 is active systemctl is-active kv-cache
    check "one listener on the port, systemd's" is 1 listeners
    check "stored through it" is OK ask SET k v
    check "read through it" is v ask GET k
    restart_under_connections
    check "no connection is refused while it restarts" says '^refused 0$' cat "$state/storm"
    check "answers after it" answers
    check "still one listener" is 1 listeners
    systemctl disable --now kv-cache.socket 2>/dev/null
    systemctl reset-failed kv-cache
    systemctl restart kv-cache
    check "without the socket it listens by itself" within 20 answers
}

io_uring_forbidden() {
    section "io_uring forbidden"
    if [ ! -e /proc/sys/kernel/io_uring_disabled ]; then
        echo "        Linux $kernel has no kernel.io_uring_disabled"
        return
    fi
    sysctl -qw kernel.io_uring_disabled=2
    systemctl reset-failed kv-cache
    systemctl restart kv-cache
    check "with kernel.io_uring_disabled=2 it runs on epoll" within 20 is epoll engine
    check "and says how to mend that" says 'io_uring_disabled' journalctl --no-pager -u kv-cache -o cat -n 60
    check "install.sh --io-uring-group" ./install.sh --binary bin/kv-server --io-uring-group
    check "only for a group" is 1 current kernel.io_uring_disabled
    systemctl restart kv-cache
    check "the server is in that group, in its sandbox too" within 20 is io_uring engine
}

left_behind() {
    find /etc /usr/local /var/lib /run -xdev \( -name '*kv-cache*' -o -name 'kv-server*' \) -print
}

uninstalling() {
    section "uninstall"
    check "uninstall" ./install.sh --uninstall --purge
    check "no service" refuses systemctl cat kv-cache.service
    check "no user" refuses getent passwd kv-cache
    check "no file" is "" left_behind
    save_sysctls "$state/sysctls.after"
    check "kernel settings as before" diff "$state/sysctls" "$state/sysctls.after"
    check "huge pages as before" diff "$state/thp" /sys/kernel/mm/transparent_hugepage/enabled
    check "the port is free" refuses ask PING
}

case $KV_VM_BOOT in
    1)
        within 120 booted
        before_installing
        installing
        the_service
        the_machine
        doctor_after
        the_watchdog
        the_socket
        touch /root/reboot
        ;;
    2)
        section "after a reboot"
        within 120 booted
        check "it has started by itself" within 60 answers
        check "io_uring" is io_uring engine
        check "--check finds no drift" ./install.sh --check
        the_machine
        io_uring_forbidden
        uninstalling
        passed=$(wc -l <"$state/passed")
        failed=0
        [ ! -f "$state/failed" ] || failed=$(wc -l <"$state/failed")
        echo
        [ "$failed" = 0 ] || sed 's/^/summary: failed: /' "$state/failed"
        echo "summary: Linux $kernel: $passed checks passed, $failed failed; $(tail -n 1 "$state/security" | sed 's/^[^O]*//')"
        [ "$failed" = 0 ]
        ;;
esac
