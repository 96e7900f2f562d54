#!/usr/bin/env bash
# Fills target/package, of which Cargo.toml's metadata makes packages: deploy/stage.sh KV-SERVER URING-BENCH [RUNNER…]
#
# The server itself writes its manual and completions. For another processor's server RUNNER runs it, such as qemu-aarch64-static.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: deploy/stage.sh KV-SERVER URING-BENCH [RUNNER...]" >&2
    exit 2
fi
server=$(realpath "$1")
bench=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."

stage=target/package
rm -rf "$stage"
mkdir -p "$stage"
install -m 0755 "$server" "$stage/kv-server"
install -m 0755 "$bench" "$stage/uring-bench"
"$@" "$stage/kv-server" man >"$stage/kv-server.1"
gzip -n -9 -k "$stage/kv-server.1"
"$@" "$stage/kv-server" completions bash >"$stage/kv-server.bash"
"$@" "$stage/kv-server" completions zsh >"$stage/_kv-server"
"$@" "$stage/kv-server" completions fish >"$stage/kv-server.fish"

# Debian wants its own form of a changelog, and cargo-deb takes a file that has it. The text is in CHANGELOG.md.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
cat >"$stage/changelog.Debian" <<TEXT
kv-cache ($version-1) unstable; urgency=medium

  * Version $version; what is new stands in CHANGELOG.md of the sources.

 -- The KV-Cache founders <kv-cache@localhost>  $(LC_ALL=C date -u -R -d "@$time")
TEXT
