#!/usr/bin/env bash
# Builds the image with QEMU on this machine, and boots what was built: no account, no cost.
#
#     ami/qemu.sh build IMAGE USER RELEASE.tar.gz [PACKER-OPTION…]     IMAGE: a cloud image; USER: its own user
#     ami/qemu.sh boot DISK [USER-DATA] [QEMU-OPTION…]                 console here; ssh on port 2222, the cache on 7171
#
# `boot` leaves the disk as it is. USER-DATA is a file as one would give EC2; without it there is none.
# ACCELERATOR=kvm|tcg|hvf; by default kvm where the processor can, else tcg.
set -euo pipefail
cd "$(dirname "$0")/.."
# Else Packer makes a folder for locks and downloads here.
export PACKER_CACHE_DIR=${PACKER_CACHE_DIR:-$PWD/target/ami/cache}

usage() { sed -n '2,/^set /{/^set /!s/^# \?//p}' "$0" >&2; exit 2; }

accelerator=${ACCELERATOR:-tcg}
# A /dev/kvm without these is an emulation, slower than QEMU's own.
if [ -z "${ACCELERATOR:-}" ] && [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerator=kvm; fi

build() {
    [ $# -ge 3 ] || usage
    local image user=$2 release version seed=target/ami/seed
    image=$(realpath "$1")
    release=$(realpath "$3")
    shift 3
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    # A key for this build only.
    rm -rf "$seed"
    mkdir -p "$seed" target/ami/out
    ssh-keygen -q -t ed25519 -N '' -C packer -f "$seed/key"
    printf '#cloud-config\nssh_authorized_keys:\n  - %s\n' "$(cat "$seed/key.pub")" >"$seed/user-data"
    printf 'instance-id: build-%s\nlocal-hostname: localhost\n' "$(date +%s)" >"$seed/meta-data"
    # Packer does not write over what is there.
    rm -rf target/ami/out/qemu-*
    packer build -only=qemu.image -var "version=$version" -var "qemu_image=$image" -var "qemu_user=$user" \
        -var "qemu_accelerator=$accelerator" -var "qemu_seed=$seed" -var "release_x86_64=$release" -var "release_arm64=$release" "$@" "${PACKER_FOLDER:-ami}"
    rm -rf "$seed"
    ls -l target/ami/out/qemu-*/*
}

boot() {
    [ $# -ge 1 ] || usage
    local disk=$1 user_data=${2:-/dev/null} cpu=host
    shift $(($# > 1 ? 2 : 1))
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp "$user_data" "$work/user-data"
    printf 'instance-id: local-%s\nlocal-hostname: kv-cache\n' "$(date +%s)" >"$work/meta-data"
    xorriso -as mkisofs -quiet -volid cidata -joliet -rock -output "$work/seed.iso" "$work/user-data" "$work/meta-data" 2>/dev/null
    [ "$accelerator" != tcg ] || cpu=max
    qemu-system-x86_64 -machine "pc,accel=$accelerator" -cpu "$cpu" -smp 2 -m "${MEMORY:-1024}" -display none -serial mon:stdio \
        -drive "file=$disk,if=virtio,snapshot=on" -drive "file=$work/seed.iso,if=virtio,format=raw,readonly=on" \
        -netdev "user,id=net,hostfwd=tcp:127.0.0.1:${SSH_PORT:-2222}-:22,hostfwd=tcp:127.0.0.1:${CACHE_PORT:-7171}-:7171" \
        -device virtio-net-pci,netdev=net "$@"
}

case ${1:-} in
    build | boot) "$@" ;;
    *) usage ;;
esac
