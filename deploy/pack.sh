#!/usr/bin/env bash
# Packs a release from programs that are built already: deploy/pack.sh KV-SERVER URING-BENCH SBOM-FOLDER OUTPUT.tar.gz
#
# What lies in it is what install.sh and ami/provision.sh ask for: bin/, install.sh, deploy/, sysctl/, ami/, licences, documents, the
# SBOMs (deploy/sbom.sh).
# The same files give the same bytes: names are sorted, owners and times are fixed (SOURCE_DATE_EPOCH, or the last commit's).
set -euo pipefail

if [ $# -ne 4 ]; then
    echo "usage: deploy/pack.sh KV-SERVER URING-BENCH SBOM-FOLDER OUTPUT.tar.gz" >&2
    exit 2
fi
server=$(realpath "$1")
bench=$(realpath "$2")
sboms=$(realpath "$3")
mkdir -p "$(dirname "$4")"
output=$(realpath "$(dirname "$4")")/$(basename "$4")
cd "$(dirname "$0")/.."

name=$(basename "$output" .tar.gz)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/$name
mkdir -p "$root/bin"
install -m 0755 "$server" "$root/bin/kv-server"
install -m 0755 "$bench" "$root/bin/uring-bench"
install -m 0644 "$sboms/kv-server.cdx.json" "$sboms/uring-bench.cdx.json" "$root/"
cp -a install.sh deploy sysctl ami docs README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$root/"
# Nobody's umask decides what others may read; what is a program here is one there.
chmod -R u=rwX,go=rX "$root"

time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -cf - "$name" | gzip -n -9 >"$output.new"
mv "$output.new" "$output"
