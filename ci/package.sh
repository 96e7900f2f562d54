#!/usr/bin/env bash
# Makes the .deb and the .rpm of programs that are built already, and installs them: ci/package.sh [KV-SERVER [URING-BENCH]]
#
# The .deb goes into a Debian chroot: install, serve, upgrade with an edited configuration, remove, purge. The .rpm goes into another:
# install, verify, upgrade, erase. Without arguments the programs of target/debug are taken, built if need be. Needs root. The packages stay in
# target/package.
set -euo pipefail
cd "$(dirname "$0")/.."

ci/setup.sh

if [ $# -eq 0 ]; then
    cargo build --quiet --workspace --bins
    set -- target/debug/kv-server
fi
server=$1 bench=${2:-$(dirname "$1")/uring-bench}
version=$("$server" --version | awk '{ print $2 }')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "ci/package.sh: $*" >&2; exit 1; }

deploy/tools.sh cargo-deb cargo-generate-rpm
PATH=$PWD/.ci/cache/bin:$PATH
deploy/stage.sh "$server" "$bench"
arch=$(dpkg --print-architecture)
deb=target/package/kv-cache_$version-1_$arch.deb
rpm=target/package/kv-cache-$version-1.$(uname -m).rpm
cargo deb --quiet --no-build --no-strip -o "$deb" >/dev/null
cargo generate-rpm -o "$rpm"

# inside ROOT SCRIPT ARGUMENT…: a script of ci/package/ in a chroot with a network and processes of its own.
inside() {
    local root=$1 script=$2
    shift 2
    cp "ci/package/$script" "$root/root/"
    # shellcheck disable=SC2016 # expanded by that shell
    unshare --net --mount --pid --fork --kill-child --mount-proc="$root/proc" \
        bash -c 'ip link set lo up; exec chroot "$@"' - "$root" bash "/root/$script" "$@" >"$work/said" 2>&1 ||
        { cat "$work/said" >&2; fail "$script: see above"; }
    echo "package: $(tail -n 1 "$work/said")"
}

# The next version, by which an upgrade is tried: the same files, another default in a file that the operator may edit.
next=$work/next
dpkg-deb -R "$deb" "$next"
sed -i "s/^Version: .*/Version: $version-2/" "$next/DEBIAN/control"
echo '# A line of the new version.' >>"$next/etc/kv-cache/kv-cache.toml"
echo '# A line of the new version.' >>"$next/etc/kv-cache/tune.env"
ci/rootfs.sh bookworm "$work/deb" systemd,procps,kmod,iproute2
cp "$deb" "$work/deb/root/first.deb"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$next" "$work/deb/root/second.deb" >/dev/null
inside "$work/deb" deb.sh "$version"

# An rpm that is sound by its own digests, and says what it needs to.
rpm --test --nodeps --nosignature --root "$work/deb" -U "$rpm" 2>/dev/null || fail "rpm does not take $rpm"
for line in "Name *: kv-cache" "Version *: $version" "License *: MIT OR Apache-2.0"; do
    rpm -qip "$rpm" 2>/dev/null | grep -q "^$line" || fail "the rpm has no '$line'"
done
ci/rootfs.sh bookworm "$work/rpm"
root=$work/rpm
cp "$rpm" "$root/root/"
# From outside: Debian's small system has no rpm. The scripts run inside, as they would.
rpm_there() { rpm --root "$root" --nodeps --nosignature "$@"; }
rpm_there -i "$rpm" >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "rpm -i"; }
grep -q 'systemctl enable --now kv-cache-tune kv-cache' "$work/said" || fail "nobody is told how to start it"
rpm_there -V kv-cache 2>"$work/said" || fail "what is installed is not what the rpm says"
inside "$root" rpm.sh "$version"
# An edited configuration survives, and an erasure keeps it aside.
echo 'threads = 1' >>"$root/etc/kv-cache/kv-cache.toml"
rpm_there -U --replacepkgs "$rpm" >/dev/null 2>&1 || fail "rpm -U"
grep -qx 'threads = 1' "$root/etc/kv-cache/kv-cache.toml" || fail "an upgrade has changed the configuration"
rpm_there -e kv-cache 2>/dev/null
[ ! -e "$root/usr/bin/kv-server" ] || fail "rpm -e leaves the server"
grep -qx 'threads = 1' "$root/etc/kv-cache/kv-cache.toml.rpmsave" || fail "rpm -e takes an edited configuration"
left=$(find "$root/usr" "$root/etc" \( -name '*kv-cache*' -o -name '*kv-server*' \) ! -path "$root/etc/kv-cache*")
[ -z "$left" ] || fail "rpm -e leaves $left"
# Where install.sh was, it does not go.
mkdir -p "$root/var/lib/kv-cache/install-backup"
touch "$root/var/lib/kv-cache/install-backup/manifest"
if rpm_there -i "$rpm" >"$work/said" 2>&1; then fail "the rpm goes beside install.sh"; fi
grep -q 'install.sh --uninstall' "$work/said" || fail "the rpm does not say what to do about install.sh"
echo "package: $(basename "$deb") $(du -h "$deb" | cut -f1), $(basename "$rpm") $(du -h "$rpm" | cut -f1)"
