#!/usr/bin/env bash
# Makes a small Debian system below a folder, from the mirror that this machine itself uses: ci/rootfs.sh SUITE FOLDER [PACKAGE,PACKAGE…]
#
# What was downloaded stays in .ci/cache/rootfs as a tarball, one for each suite and choice of packages, so that the second time
# takes seconds. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 2 ]; then
    echo "usage: ci/rootfs.sh SUITE FOLDER [PACKAGE,PACKAGE...]" >&2
    exit 2
fi
suite=$1 folder=$2 packages=${3:-}

# Of the addresses in apt's own sources, in either of their two formats, the first that ends like a mirror of Debian; not all of
# these files are there.
mirror=$({ cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
    awk '$1 == "URIs:" || $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:\/\/.*\/debian\/?$/) { print $i; exit } }')
[ -n "$mirror" ] || { echo "ci/rootfs.sh: apt's sources name no mirror" >&2; exit 1; }

mkdir -p .ci/cache/rootfs
tarball=.ci/cache/rootfs/$suite-$(printf '%s' "$packages" | sha256sum | cut -c1-12).tar
if [ ! -f "$tarball" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # Packages that several of these systems have are fetched once.
    mkdir -p .ci/cache/debs
    options=(--variant=minbase "--cache-dir=$PWD/.ci/cache/debs")
    [ -z "$packages" ] || options+=("--include=$packages")
    if ! debootstrap "${options[@]}" "$suite" "$work/root" "$mirror" >"$work/log" 2>&1; then
        tail -n 20 "$work/log" "$work/root/debootstrap/debootstrap.log" >&2 || true
        exit 1
    fi
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" --numeric-owner -cf "$work/whole.tar" .
    mv "$work/whole.tar" "$tarball"
fi
mkdir -p "$folder"
tar -C "$folder" --numeric-owner -xf "$tarball"
