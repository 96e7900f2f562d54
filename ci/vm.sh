#!/usr/bin/env bash
# Boots a Debian system of its own in qemu and runs a script in it: ci/vm.sh [--suite bookworm|trixie] [--for SECONDS] [SCRIPT [ARGUMENT...]]
#
# What a container cannot show: systemd as process 1, another kernel (bookworm's 6.1, trixie's 6.12), netem, fq, a reboot.
# The script is ci/vm/guest.sh unless another of this checkout is named; it runs as root in the guest, in a copy of what `carried`
# names below, and again after each reboot that it asks for. Its output is a report; its exit code is ours.
#
# The system is made once by ci/rootfs.sh and kept in .ci/cache/vm; the guest writes to a copy that is thrown away. Needs root.
# KV_VM_SERVER and KV_VM_BENCH name other binaries than the debug build's, KV_VM_REPORT a file that keeps the report.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm seconds=1200
while [ $# -gt 0 ]; do
    case $1 in
        --suite) suite=$2; shift 2 ;;
        --for) seconds=$2; shift 2 ;;
        -*) echo "usage: ci/vm.sh [--suite bookworm|trixie] [--for SECONDS] [SCRIPT [ARGUMENT...]]" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- ci/vm/guest.sh

# The whole of ci/setup.sh would make a Python environment too, which this does not use.
for tool in qemu-system-x86_64 mke2fs debootstrap python3; do
    command -v "$tool" >/dev/null || { ci/setup.sh; break; }
done

# The image is made anew when the script that makes it changes.
image=.ci/cache/vm/$suite-$(cat ci/vm/image.sh ci/rootfs.sh | sha256sum | cut -c1-12)
[ -f "$image/initrd" ] || ci/vm/image.sh "$suite" "$image"

server=${KV_VM_SERVER:-} bench=${KV_VM_BENCH:-}
if [ -z "$server" ] || [ -z "$bench" ]; then
    cargo build --quiet --workspace
    target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    server=${server:-$target/debug/kv-server} bench=${bench:-$target/debug/uring-bench}
fi

work=$(mktemp -d)
qemu_pid=
finish() {
    [ -z "$qemu_pid" ] || kill "$qemu_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# What the guest gets: a tar archive is its second disk, byte for byte.
carried=(ci/vm)
for part in install.sh deploy sysctl README.md LICENSE-MIT LICENSE-APACHE; do
    [ ! -e "$part" ] || carried+=("$part")
done
mkdir "$work/bin"
install -m 755 "$server" "$work/bin/kv-server"
install -m 755 "$bench" "$work/bin/uring-bench"
strip --strip-debug "$work/bin/kv-server" "$work/bin/uring-bench" 2>/dev/null || true
printf '%q ' "$@" >"$work/command"
tar -cf "$work/carried.tar" --owner=0 --group=0 -C "$PWD" "${carried[@]}" -C "$work" bin command
truncate -s %512 "$work/carried.tar"

# KVM is used where the processor has what it needs. A /dev/kvm without that is an emulation slower than qemu's own.
accel=(-accel "tcg,thread=multi" -cpu max)
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
    accel=(-accel kvm -cpu host)
fi

report=$work/report
: >"$report"
qemu-system-x86_64 "${accel[@]}" -smp 2 -m "${KV_VM_MEMORY:-3072}" -nodefaults -display none -no-user-config \
    -kernel "$image/vmlinuz" -initrd "$image/initrd" \
    -append "console=ttyS0 quiet loglevel=4 panic=-1 net.ifnames=0 systemd.show_status=no" \
    -drive "file=$image/root.img,format=raw,if=virtio,snapshot=on" \
    -drive "file=$work/carried.tar,format=raw,if=virtio,readonly=on" \
    -netdev user,id=card,restrict=on -device virtio-net-pci,netdev=card,romfile= \
    -chardev "file,id=console,path=$work/console" -serial chardev:console \
    -chardev "file,id=report,path=$report" -serial chardev:report >"$work/qemu" 2>&1 &
qemu_pid=$!
while kill -0 "$qemu_pid" 2>/dev/null; do
    if [ "$SECONDS" -gt "$seconds" ]; then
        echo "ci/vm.sh: the guest has not ended after $seconds s" >&2
        break
    fi
    sleep 1
done

sed -i 's/\r$//' "$report"
[ -z "${KV_VM_REPORT:-}" ] || cp "$report" "$KV_VM_REPORT"
if [ "$(tail -n 1 "$report")" != "guest exit 0" ]; then
    tail -n 20 "$work/qemu" "$work/console" >&2 || true
    cat "$report" >&2
    echo "ci/vm.sh: $1 failed on $suite" >&2
    exit 1
fi
grep '^summary: ' "$report" | cut -c10- || true
