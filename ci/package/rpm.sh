#!/usr/bin/env bash
# The part of ci/package.sh that runs where the .rpm has been installed: rpm.sh VERSION
set -euo pipefail
version=$1
fail() { echo "rpm.sh: $*" >&2; exit 1; }
shown() { stat -c '%U:%G %a' "$1"; }

[ "$(kv-server --version)" = "kv-server $version" ] || fail "another server: $(kv-server --version)"
getent passwd kv-cache | grep -q ':/nonexistent:/sbin/nologin$' || fail "the user: $(getent passwd kv-cache)"
[ "$(shown /etc/kv-cache/kv-cache.toml)" = "root:kv-cache 640" ] || fail "the configuration is $(shown /etc/kv-cache/kv-cache.toml)"
[ "$(shown /usr/bin/kv-server)" = "root:root 755" ] || fail "the server is $(shown /usr/bin/kv-server)"
for file in /usr/bin/uring-bench /usr/sbin/kv-cache-tune /usr/share/man/man1/kv-server.1.gz /usr/share/zsh/site-functions/_kv-server \
    /usr/lib/systemd/system/kv-cache.service /etc/sysctl.d/90-kv-cache.conf /usr/share/licenses/kv-cache/LICENSE-MIT; do
    [ -s "$file" ] || fail "$file is not there"
done
[ ! -e /etc/systemd/system/multi-user.target.wants/kv-cache.service ] || fail "the service is enabled without being asked for"

setpriv --reuid kv-cache --regid kv-cache --clear-groups kv-server --config /etc/kv-cache/kv-cache.toml --no-pin >/root/server.log 2>&1 &
for _ in $(seq 100); do
    if kv-server ping >/dev/null 2>&1; then
        kill $!
        wait $! || fail "the server ended with $?"
        echo "the .rpm: installed, verified, served; upgraded, erased"
        exit 0
    fi
    sleep 0.1
done
cat /root/server.log >&2
fail "no answer"
