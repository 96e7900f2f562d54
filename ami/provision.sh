#!/usr/bin/env bash
# Turns a fresh system into an image of KV-Cache: run as root from an unpacked release (deploy/pack.sh makes one), by Packer, in a chroot or
# by hand. Installs by the release's own install.sh, and beside it what only an image has: first boot, self-test, SBOM.
#
#   UPGRADE=true     bring the distribution's packages up to date first
#
# Running it again changes nothing more. What must differ between machines is taken out by cleanup.sh, afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "provision.sh: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root: sudo bash $0"
for file in install.sh bin/kv-server bin/uring-bench kv-server.cdx.json uring-bench.cdx.json ami/files/first-boot; do
    [ -f "$file" ] || fail "$file is not in this release; make one by deploy/pack.sh"
done

# shellcheck source=/dev/null
. /etc/os-release
case "$ID-${VERSION_ID:-}" in
amzn-2023 | ubuntu-24.04 | debian-12 | debian-13) ;;
*) fail "images are made of Amazon Linux 2023, Ubuntu 24.04 and Debian 12 or 13, and this is ${PRETTY_NAME:-$ID}" ;;
esac

if [ "${UPGRADE:-false}" = true ]; then
    if command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q -o DPkg::Lock::Timeout=300 update
        apt-get -qy -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold upgrade
    else
        dnf -qy upgrade --releasever=latest
    fi
fi
# first-boot and self-test are written in it. Both distributions' images have it: cloud-init is.
command -v python3 >/dev/null || fail "python3 is not there"

# Started by the first boot, with what the instance is told.
./install.sh --binary bin/kv-server --no-start

install -m 0755 bin/uring-bench /usr/local/bin/uring-bench
install -d -m 0755 /usr/local/lib/kv-cache /usr/share/doc/kv-cache
install -m 0755 ami/files/first-boot ami/files/self-test /usr/local/lib/kv-cache/
install -m 0644 ami/files/kv-cache-first-boot.service ami/files/kv-cache-selftest.service /etc/systemd/system/
# By hand what `systemctl enable` does, which in a chroot may find no systemd to talk to.
wants=/etc/systemd/system/multi-user.target.wants
install -d -m 0755 "$wants"
ln -sfn /etc/systemd/system/kv-cache-first-boot.service "$wants/"
ln -sfn /etc/systemd/system/kv-cache-selftest.service "$wants/"

install -m 0644 kv-server.cdx.json uring-bench.cdx.json /usr/share/doc/kv-cache/
ami/files/sbom-image kv-server.cdx.json uring-bench.cdx.json >/usr/share/doc/kv-cache/sbom-image.cdx.json
chmod 0644 /usr/share/doc/kv-cache/sbom-image.cdx.json
cp LICENSE-MIT LICENSE-APACHE /usr/share/doc/kv-cache/
echo "provision.sh: $(/usr/local/bin/kv-server --version) is installed on $PRETTY_NAME"
