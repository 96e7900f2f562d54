#!/usr/bin/env bash
# install.sh in small Debian systems: what --dry-run leaves alone, a second run, drift, failures half-way, what --uninstall restores, and
# whether what it installs runs. And kv-cache-tune on a made-up machine.
#
#     ci/install_test.sh [SUITE…]      bookworm and trixie unless said otherwise; KV_SERVER=PATH takes that binary, else one is built
#
# Everything happens below a folder, with process numbers and a network of its own: there net.* can really be set and read back.
# The rest of /proc/sys is read-only there, so that nothing of this machine changes. Needs root. A real boot is another test.
# shellcheck disable=SC2016  # what stands in single quotes is expanded inside the system
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in debootstrap shellcheck ip; do
    command -v "$tool" >/dev/null || { ci/setup.sh && break; }
done
shellcheck -x -a install.sh
shellcheck deploy/kv-cache-tune
suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)
binary=${KV_SERVER:-}
if [ -z "$binary" ]; then
    cargo build --quiet --bin kv-server
    binary=${CARGO_TARGET_DIR:-target}/debug/kv-server
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root='' failed=0 passed=0

# The files of the system below $root: kind, mode, owner, target of links, content. Not compared: what every user that is added or
# removed leaves (copies of the old files, a lock), the installer's own notes, and times.
tree() {
    local files
    files=$(cd "$root" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./release \
        -o -path ./var/log -o -path './etc/*-' -o -path ./etc/.pwd.lock -o -path ./var/lib/kv-cache/install-backup/manifest \) -prune -o \
        -printf '%p %y %m %U:%G %l\n')
    sort <<<"$files"
    (cd "$root" && awk '$2 == "f" { print $1 }' <<<"$files" | tr '\n' '\0' | xargs -0 sha256sum | sort -k2)
}

# inside COMMANDS: as the first process of a machine of its own. The first 4 KB of what /full names are all that fits there.
inside() {
    timeout 300 unshare --mount --pid --net --fork --kill-child --root="$root" --mount-proc /bin/bash -euc '
        export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
        mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
        ip link set lo up
        cd /release
        eval "$1"' inside "$1" >"$work/output" 2>&1
}

# in_a_chroot COMMANDS: as an image builder does it, with the process table of this machine (read-only) in view.
in_a_chroot() {
    timeout 300 unshare --mount /bin/bash -euc '
        mount --bind /proc "$1/proc" && mount -o remount,bind,ro "$1/proc"
        exec chroot "$1" /bin/bash -euc "cd /release; $2"' chroot "$root" "$1" >"$work/output" 2>&1
}

outcome() {
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED  %s: %s\n' "$suite" "$2"
        tail -n 60 "$work/output" | sed 's/^/        /'
    fi
}
# expect NAME COMMAND…, refuse NAME COMMAND…: it succeeds, it fails. says NAME TEXT…: the last output has all of these in it.
expect() {
    local what=$1 status=0
    shift
    "$@" || status=$?
    outcome "$status" "$what (status $status)"
}
refuse() {
    local what=$1 status=0
    shift
    "$@" || status=$?
    outcome "$([ "$status" = 1 ] && echo 0 || echo 1)" "$what: status $status, not 1"
}
says() {
    local what=$1 text
    shift
    for text in "$@"; do
        if ! grep -qF -- "$text" "$work/output"; then outcome 1 "$what: does not say \"$text\""; return; fi
    done
    outcome 0 "$what"
}
silent_about() { outcome "$(grep -qE -- "$2" "$work/output" && echo 1 || echo 0)" "$1"; }
# same NAME OLD: the files are those that they were.
same() {
    local status=0
    tree >"$work/now"
    diff "$2" "$work/now" >"$work/output" || status=1
    outcome "$status" "$1"
}

begin() {
    suite=$1 root=$work/root
    rm -rf "$root"
    ci/rootfs.sh "$suite" "$root" systemd,procps,kmod,iproute2
    mkdir "$root/release"
    cp -a install.sh deploy sysctl "$root/release/"
    cp "$binary" "$root/release/kv-server"
    # What was there before and has to come back: a setting, a file of ours by another hand, a masked unit.
    mkdir -p "$root/etc/sysctl.d" "$root/etc/systemd/system" "$root/etc/security/limits.d"
    echo 'net.ipv4.tcp_fin_timeout = 44' >"$root/etc/sysctl.d/90-kv-cache.conf"
    chmod 0640 "$root/etc/sysctl.d/90-kv-cache.conf"
    echo '# limits of somebody' >"$root/etc/security/limits.d/90-kv-cache.conf"
    ln -s /dev/null "$root/etc/systemd/system/kv-cache-tune.service"
    # The machine's own choices, read after ours.
    printf 'net/ipv4/tcp_keepalive_time=77\n-net.core.somaxconn = 5000\n' >"$root/etc/sysctl.d/99-local.conf"
    tree >"$work/before"
}

dry_run() {
    expect "--dry-run" inside './install.sh --dry-run'
    says "--dry-run prints what it would do" "group kv-cache" "/usr/local/bin/kv-server: new" "-net.ipv4.tcp_fin_timeout = 44" \
        "net.ipv4.tcp_slow_start_after_idle: 1 -> 0" "nothing was"
    same "--dry-run changes no file" "$work/before"
    expect "--dry-run without root" inside 'mkdir -p /tmp && runuser -u nobody -- ./install.sh --dry-run'
    refuse "--check where nothing is installed" inside './install.sh --check'
    refuse "installing without root" inside 'runuser -u nobody -- ./install.sh'
    says "installing without root" "needs root"
}

# The values that are read back are those of the namespace, which ends with each call: so all of it in one.
in_the_kernel() {
    expect "settings reach the kernel, a later file wins, --check sees them, --uninstall sets them back" inside '
        value() { tr "\t" " " <"/proc/sys/net/$1"; }
        sysctl -qw net.ipv4.tcp_fin_timeout=55 net.ipv4.tcp_keepalive_time=77
        before=$(value ipv4/tcp_rmem)
        ./install.sh --memory 64MB
        [ "$(value ipv4/tcp_slow_start_after_idle)" = 0 ]
        [ "$(value ipv4/tcp_fin_timeout)" = 30 ]
        [ "$(value ipv4/tcp_rmem)" = "4096 131072 33554432" ]
        [ "$(value ipv4/ip_local_port_range)" = "16384 65535" ]
        [ "$(value ipv4/tcp_keepalive_time)" = 77 ]
        ./install.sh --check
        sysctl -qw net.ipv4.tcp_tw_reuse=2 net.ipv4.tcp_fin_timeout=20
        if ./install.sh --check; then exit 9; fi
        ./install.sh
        [ "$(value ipv4/tcp_tw_reuse)" = 1 ]
        [ "$(value ipv4/tcp_fin_timeout)" = 30 ]
        sysctl -qw net.ipv4.tcp_max_syn_backlog=999
        ./install.sh --uninstall
        [ "$(value ipv4/tcp_slow_start_after_idle)" = 1 ]
        [ "$(value ipv4/tcp_fin_timeout)" = 55 ]
        [ "$(value ipv4/tcp_max_syn_backlog)" = 999 ]
        [ "$(value ipv4/tcp_rmem)" = "$before" ]'
    says "what was said of them" "left to /etc/sysctl.d/99-local.conf" "DRIFT    net.ipv4.tcp_tw_reuse is 2, not 1" \
        "What did not take" "net.ipv4.tcp_max_syn_backlog: somebody has set it to 999"
    same "after --uninstall all is as before" "$work/before"
}

twice_and_drift() {
    expect "install in a chroot" in_a_chroot './install.sh --memory 64MB'
    says "a chroot's kernel is left alone" "take effect at the next boot" "is installed"
    tree >"$work/installed"
    expect "install again" in_a_chroot './install.sh'
    says "nothing to do the second time" "everything was as it should be"
    silent_about "nothing changed the second time" '^  changed'
    same "the second run changes no file" "$work/installed"
    expect "--check" in_a_chroot './install.sh --check'

    echo 'net.ipv4.tcp_fin_timeout = 1' >>"$root/etc/sysctl.d/90-kv-cache.conf"
    rm "$root/etc/systemd/system/kv-cache.service" "$root/etc/systemd/system/multi-user.target.wants/kv-cache.service"
    chmod 0644 "$root/etc/kv-cache/kv-cache.toml"
    refuse "--check after drift, by the installed copy" in_a_chroot '/var/lib/kv-cache/install.sh --check'
    says "drift is named" "/etc/sysctl.d/90-kv-cache.conf is not as installed" "/etc/systemd/system/kv-cache.service is missing" \
        "multi-user.target.wants/kv-cache.service is missing" "kv-cache.toml is root:kv-cache 644" "4 differences"
    expect "install mends it" in_a_chroot './install.sh'
    expect "--check" in_a_chroot './install.sh --check'
    same "what was mended is as first installed" "$work/installed"
}

configuration() {
    echo '# mine' >>"$root/etc/kv-cache/kv-cache.toml"
    cp "$root/etc/kv-cache/kv-cache.toml" "$work/mine"
    echo '# a new line of a new version' >>"$root/release/deploy/kv-cache.toml"
    expect "install over an edited configuration" in_a_chroot './install.sh --memory 96MB'
    says "it is kept" "it has been edited" "kv-cache.toml.new" "set max-memory there"
    outcome "$(cmp -s "$work/mine" "$root/etc/kv-cache/kv-cache.toml" && echo 0 || echo 1)" "an edited configuration stays as it is"
    expect "--check" in_a_chroot './install.sh --check'
    expect "--uninstall" in_a_chroot '/var/lib/kv-cache/install.sh --uninstall'
    says "an edited configuration stays" "kept     /etc/kv-cache/kv-cache.toml"
    outcome "$(cmp -s "$work/mine" "$root/etc/kv-cache/kv-cache.toml" && [ "$(stat -c '%U %a' "$root/etc/kv-cache/kv-cache.toml")" = "root 600" ] && echo 0 || echo 1)" \
        "and only root can read it"
    expect "--purge" in_a_chroot './install.sh --uninstall --purge'
    same "after --purge all is as before" "$work/before"
    # What an earlier uninstallation has kept, since it was edited.
    mkdir -p "$root/etc/kv-cache"
    install -m 0600 /dev/stdin "$root/etc/kv-cache/kv-cache.toml" <<<'threads = 1'
    expect "install over a kept configuration" in_a_chroot './install.sh'
    expect "--uninstall" in_a_chroot './install.sh --uninstall'
    outcome "$([ "$(stat -c '%u:%g %a' "$root/etc/kv-cache/kv-cache.toml") $(cat "$root/etc/kv-cache/kv-cache.toml")" = "0:0 600 threads = 1" ] && echo 0 || echo 1)" \
        "it is kept again, and nobody's group can read it"
    rm -r "$root/etc/kv-cache"
    cp deploy/kv-cache.toml "$root/release/deploy/kv-cache.toml"
}

half_way() {
    refuse "a full disk" inside 'mkdir -p /etc/security/limits.d && mount -t tmpfs -o size=4k tmpfs /etc/systemd/system && ./install.sh'
    says "what is done and what is not" "No space left on device" "stopped in step 6 of" "done:      system, binary found, user and group, binary, configuration" \
        "begun:     service" "not done:  limits, kernel settings" "it goes on from here" "--uninstall"
    expect "install goes on" in_a_chroot './install.sh'
    expect "--check" in_a_chroot './install.sh --check'
    expect "--uninstall" in_a_chroot './install.sh --uninstall --purge'
    same "after it all is as before" "$work/before"

    refuse "a command that fails" in_a_chroot 'mkdir /tmp/fails; ln -s /bin/false /tmp/fails/useradd; PATH=/tmp/fails:$PATH ./install.sh'
    says "which" "failed:    useradd" "done:      system, binary found" "begun:     user and group"
    expect "--uninstall of what is half there" in_a_chroot './install.sh --uninstall'
    same "after it all is as before" "$work/before"

    printf '#!/bin/sh\necho "cannot execute: wrong processor" >&2\nexit 126\n' >"$root/release/other"
    chmod +x "$root/release/other"
    refuse "a binary that does not run here" in_a_chroot './install.sh --binary other'
    says "why" "wrong processor" "another processor"
    same "nothing was changed" "$work/before"
}

# The kernel's two settings of io_uring, as files that can be written to.
io_uring() {
    local fakes='
        value() { cat "/proc/sys/kernel/io_uring_$1"; }
        for one in disabled group; do
            echo "$([ "$one" = disabled ] && echo 2 || echo "${group:--1}")" >"/tmp/$one"
            mount --bind "/tmp/$one" "/proc/sys/kernel/io_uring_$one"
        done'
    [ -e /proc/sys/kernel/io_uring_disabled ] || { echo "SKIPPED $suite: io_uring for one group (this kernel cannot)" && return; }
    expect "io_uring that is off is allowed to our group alone" inside "$fakes"'
        ./install.sh --dry-run
        [ "$(value disabled) $(value group)" = "2 -1" ]
        ./install.sh
        [ "$(value disabled) $(value group)" = "1 $(getent group kv-cache | cut -d: -f3)" ]
        ./install.sh | grep "everything was as it should be"
        ./install.sh --check
        ./install.sh --uninstall
        [ "$(value disabled) $(value group)" = "2 -1" ]'
    says "it says so" "kernel.io_uring_disabled is 2 here" "allowed to the group kv-cache only"
    expect "another group's io_uring stays that group's" inside "group=7$fakes"'
        ./install.sh
        [ "$(value disabled) $(value group)" = "1 7" ]
        ./install.sh --uninstall
        [ "$(value disabled) $(value group)" = "2 7" ]'
    says "it says how to join" "usermod -aG 7 kv-cache"
    same "after it all is as before" "$work/before"
}

# pretend ID VERSION
pretend() { printf 'ID=%s\nVERSION_ID="%s"\nPRETTY_NAME="%s %s"\n' "$1" "$2" "$1" "$2" >"$root/etc/os-release"; }

distributions() {
    local system
    mv "$root/etc/os-release" "$work/os-release"
    for system in "amzn 2023" "ubuntu 22.04" "ubuntu 24.04" "debian 12" "debian 13"; do
        # shellcheck disable=SC2086
        pretend $system
        expect "on $system" in_a_chroot './install.sh --dry-run'
    done
    pretend fedora 43
    refuse "on another distribution" in_a_chroot './install.sh'
    says "which are known" "This is fedora 43" "Amazon Linux 2023" "--force"
    expect "on another distribution by --force" in_a_chroot './install.sh --dry-run --force'
    mv "$work/os-release" "$root/etc/os-release"
    touch "$root/usr/lib/systemd/system/kv-cache.service"
    refuse "beside the package" in_a_chroot './install.sh'
    says "beside the package" "installed here as a package"
    refuse "taking the package's configuration" in_a_chroot './install.sh --uninstall --purge'
    rm "$root/usr/lib/systemd/system/kv-cache.service"
    for option in --wrong '--memory lots' '--binary /not/there' --purge; do
        refuse "option $option" in_a_chroot "./install.sh $option"
    done
    same "none of it changed a file" "$work/before"
}

it_runs() {
    expect "io_uring for one group" in_a_chroot './install.sh --memory 64MB --io-uring-group --no-start'
    outcome "$(grep -q "^-kernel.io_uring_group = $(awk -F: '$1 == "kv-cache" { print $3 }' "$root/etc/group")\$" "$root/etc/sysctl.d/91-kv-cache-io-uring.conf" && echo 0 || echo 1)" \
        "the group's number stands in the file"
    expect "units are sound" in_a_chroot 'systemd-analyze verify --man=no kv-cache.service kv-cache.socket kv-cache-tune.service 2>&1 | tee /dev/stderr | { ! grep kv-cache; }'
    for line in Type=notify Restart=on-failure WatchdogSec=30 LimitMEMLOCK=infinity LimitNOFILE=1048576 FileDescriptorStoreMax=256 MemorySwapMax=0 User=kv-cache; do
        expect "the unit has $line" grep -qx "$line" "$root/etc/systemd/system/kv-cache.service"
    done
    for line in LimitMEMLOCK=infinity LimitNOFILE=1048576; do
        expect "the drop-in has $line" grep -qx "$line" "$root/etc/systemd/system/kv-cache.service.d/limits.conf"
    done
    expect "exposure of the service is below 2" in_a_chroot '
        systemd-analyze security --offline=true --no-pager kv-cache.service | awk "/Overall exposure/ { score = \$(NF - 2); print score; if (score < 2) found = 1 } END { exit !found }"'
    # Where root may not raise limits (CAP_SYS_RESOURCE, bit 24) nobody can see whether this file does.
    if (($(awk '$1 == "CapEff:" { print "0x" $2 }' /proc/self/status) >> 24 & 1)); then
        expect "limits of the user by pam_limits" inside '[ "$(runuser kv-cache -s /bin/bash -c "ulimit -Hn; ulimit -l" | xargs)" = "1048576 unlimited" ]'
    else
        echo "SKIPPED $suite: limits of the user by pam_limits (this machine's root has no CAP_SYS_RESOURCE)"
    fi
    expect "the server runs as its user with its configuration, and answers" inside '
        runuser kv-cache -s /bin/bash -c "exec kv-server --config /etc/kv-cache/kv-cache.toml --threads 1 --no-pin" &
        for attempt in $(seq 100); do
            if (exec 3<>/dev/tcp/127.0.0.1/7171) 2>/dev/null; then break; fi
            sleep 0.1
        done
        kv-server ping
        exec 3<>/dev/tcp/127.0.0.1/7171
        printf "PING\r\n" >&3
        read -r -t 5 answer <&3
        [ "$answer" = $'"'+PONG\\r'"' ]
        pgrep -u kv-cache -f config'
    expect "--uninstall" in_a_chroot './install.sh --uninstall'
    same "after it all is as before" "$work/before"
}

# A machine that exists only as files: 8 CPUs (0-3 and 8-11), a card of three queues.
tune() {
    suite=kv-cache-tune root=$work/machine
    local queue card=$root/sys/class/net/ens5
    mkdir -p "$root"/sys/kernel/mm/{transparent_hugepage,hugepages/hugepages-2048kB} "$root/sys/devices/system/cpu" "$card/device/msi_irqs" \
        "$root"/proc/{net,sys/net/core,irq/39}
    echo 0 >"$root/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    echo 0-3,8-11 >"$root/sys/devices/system/cpu/online"
    echo fq_codel >"$root/proc/sys/net/core/default_qdisc"
    printf 'Iface Destination Gateway Flags RefCnt Use Metric Mask\nens5 00000000 0102 3 0 0 0 00000000\n' >"$root/proc/net/route"
    for queue in 0 1 2; do
        mkdir -p "$card/queues/rx-$queue" "$card/queues/tx-$queue" "$root/proc/irq/4$queue"
        echo 0 | tee "$card/queues/rx-$queue/rps_cpus" >"$card/queues/tx-$queue/xps_cpus"
        echo 0-11 >"$root/proc/irq/4$queue/smp_affinity_list"
        touch "$card/device/msi_irqs/4$queue"
        echo " 4$queue: 0 0 PCI-MSI 1-edge ens5-Tx-Rx-$queue" >>"$root/proc/interrupts"
    done
    touch "$card/device/msi_irqs/39"
    echo " 39: 0 0 PCI-MSI 0-edge ena-mgmnt@pci:0000:00:05.0" >>"$root/proc/interrupts"
    echo 0-11 >"$root/proc/irq/39/smp_affinity_list"
    # As the kernel shows it back, so that what is restored can be compared.
    echo never >"$root/sys/kernel/mm/transparent_hugepage/enabled"
    run_tune() { KV_TUNE_ROOT=$root deploy/kv-cache-tune "$@" >"$work/output" 2>&1; }
    values() { (cd "$root" && find proc sys -type f -printf '%p ' -exec cat {} \;) | sort; }

    values >"$work/values"
    expect "--dry-run" run_tune --dry-run
    says "--dry-run" "would    RPS of ens5 rx-0: 0 -> 409" "would    transparent huge pages: never -> madvise"
    outcome "$(values | cmp -s - "$work/values" && echo 0 || echo 1)" "--dry-run sets nothing"
    refuse "--check" run_tune --check
    says "--check" "DRIFT    interrupt 41 (ens5-Tx-Rx-1) of ens5 is 0-11, not 1"
    KV_TUNE_HUGE_PAGES=8 expect "set" run_tune
    # Queue 0 of 3 serves the 1st, 4th and 7th CPU: 0, 3 and 10.
    outcome "$([ "$(cat "$card"/queues/rx-{0,1,2}/rps_cpus "$root"/proc/irq/{40,41,42,39}/smp_affinity_list "$root/sys/kernel/mm/transparent_hugepage/enabled" \
        "$root/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages" | xargs)" = "409 902 204 0 1 2 0-11 madvise 8" ] && echo 0 || echo 1)" "each queue has its CPUs"
    expect "--check" run_tune --check
    expect "set again" run_tune
    silent_about "nothing changed the second time" '^  changed'
    echo 3 >"$root/proc/irq/42/smp_affinity_list"
    expect "--undo" run_tune --undo
    says "what somebody else has set since stays" "irq/42/smp_affinity_list: somebody has set it to 3 since"
    echo 0-11 >"$root/proc/irq/42/smp_affinity_list"
    outcome "$(values | diff "$work/values" - >"$work/output" && echo 0 || echo 1)" "--undo sets everything back"
    mkdir "$root/proc/77" && echo irqbalance >"$root/proc/77/comm"
    expect "beside irqbalance" run_tune
    says "beside irqbalance" "irqbalance runs and spreads them"
    outcome "$([ "$(cat "$root/proc/irq/40/smp_affinity_list")" = 0-11 ] && echo 0 || echo 1)" "irqbalance's interrupts are left alone"
    KV_TUNE_NIC=none expect "no card" run_tune --check
}

# Real queueing, in a network of its own; the default in the kernel stays what it is, only kv-cache-tune is told that it is fq.
queueing() {
    suite=queueing
    mkdir -p "$work"/link/{proc/sys/net/core,sys/class/net/card/queues,sys/devices/system/cpu}
    echo fq >"$work/link/proc/sys/net/core/default_qdisc"
    echo 0 >"$work/link/sys/devices/system/cpu/online"
    export KV_TUNE_ROOT=$work/link KV_TUNE_NIC=card
    with_card() { unshare --net bash -euc "ip link add card type ifb; ip link set card up; $1" >"$work/output" 2>&1; }
    expect "a queueing that somebody chose" with_card '
        tc qdisc add dev card root handle 1: pfifo
        deploy/kv-cache-tune
        tc qdisc show dev card | grep -q "pfifo 1:"'
    says "it stays" "was chosen by somebody"
    if unshare --net tc qdisc add dev lo root fq 2>/dev/null; then
        expect "fq on a card that came up before it was the default, and back" with_card '
            before=$(tc qdisc show dev card)
            if deploy/kv-cache-tune --check; then exit 9; fi
            deploy/kv-cache-tune
            tc qdisc show dev card | grep -q "^qdisc fq .*root"
            deploy/kv-cache-tune --check
            deploy/kv-cache-tune --undo
            [ "$(tc qdisc show dev card | cut -d" " -f2)" = "$(cut -d" " -f2 <<<"$before")" ]'
    else
        refuse "a kernel without fq" with_card 'deploy/kv-cache-tune'
        says "it says so" "this kernel has no fq"
    fi
}

for one in "${suites[@]}"; do
    begin "$one"
    dry_run
    in_the_kernel
    twice_and_drift
    configuration
    half_way
    io_uring
    distributions
    it_runs
done
tune
queueing
echo "install.sh: $passed checks passed, $failed failed"
[ "$failed" = 0 ]
