#!/usr/bin/env bash
# The part of ci/package.sh that runs in a Debian chroot: deb.sh VERSION, with /root/first.deb and the next version, /root/second.deb.
set -euo pipefail
version=$1
export DEBIAN_FRONTEND=noninteractive
fail() { echo "deb.sh: $*" >&2; exit 1; }
shown() { stat -c '%U:%G %a' "$1"; }

# Where install.sh was, it does not go.
mkdir -p /var/lib/kv-cache/install-backup
touch /var/lib/kv-cache/install-backup/manifest
if dpkg -i /root/first.deb >/root/said 2>&1; then fail "the package goes beside install.sh"; fi
grep -q 'install.sh --uninstall' /root/said || fail "nobody is told what to do about install.sh: $(cat /root/said)"
rm -r /var/lib/kv-cache

dpkg -i /root/first.deb
[ -z "$(dpkg -V kv-cache)" ] || fail "what is installed is not what the package says: $(dpkg -V kv-cache)"
[ "$(kv-server --version)" = "kv-server $version" ] || fail "another server: $(kv-server --version)"
getent passwd kv-cache | grep -q ':/nonexistent:/usr/sbin/nologin$' || fail "the user: $(getent passwd kv-cache)"
[ "$(shown /etc/kv-cache/kv-cache.toml)" = "root:kv-cache 640" ] || fail "the configuration is $(shown /etc/kv-cache/kv-cache.toml)"
[ "$(shown /usr/bin/kv-server)" = "root:root 755" ] || fail "the server is $(shown /usr/bin/kv-server)"
for file in /usr/bin/uring-bench /usr/sbin/kv-cache-tune /usr/share/man/man1/kv-server.1.gz /usr/share/bash-completion/completions/kv-server \
    /usr/share/zsh/vendor-completions/_kv-server /usr/share/fish/vendor_completions.d/kv-server.fish /usr/share/doc/kv-cache/copyright \
    /usr/lib/systemd/system/kv-cache.service /etc/sysctl.d/90-kv-cache.conf /etc/security/limits.d/90-kv-cache.conf; do
    [ -s "$file" ] || fail "$file is not there"
done
wants=/etc/systemd/system/multi-user.target.wants
for unit in kv-cache kv-cache-tune; do
    [ -e "$wants/$unit.service" ] || fail "$unit is not enabled"
done
[ ! -e /etc/systemd/system/sockets.target.wants/kv-cache.socket ] || fail "the socket is enabled"
bash -n /usr/share/bash-completion/completions/kv-server

# Settings reach the kernel: that of this network, and files in place of those of io_uring. The rest of /proc/sys is read-only here.
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
for one in disabled:2 group:-1; do
    [ -e /proc/sys/kernel/io_uring_disabled ] || continue # Linux before 6.6
    echo "${one#*:}" >"/root/${one%:*}"
    mount --bind "/root/${one%:*}" "/proc/sys/kernel/io_uring_${one%:*}"
done
echo 'net.ipv4.tcp_keepalive_time = 77' >/etc/sysctl.d/99-local.conf
/usr/lib/kv-cache/apply-settings >/root/said
value() { cat "/proc/sys/${1//.//}"; }
[ "$(value net.ipv4.tcp_slow_start_after_idle) $(value net.ipv4.tcp_fin_timeout)" = "0 30" ] || fail "settings do not reach the kernel"
[ "$(value net.ipv4.tcp_keepalive_time)" = 77 ] || fail "a file that is read later does not win"
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
    [ "$(value kernel.io_uring_disabled) $(value kernel.io_uring_group)" = "1 $(getent group kv-cache | cut -d: -f3)" ] ||
        fail "io_uring, which was off, is $(value kernel.io_uring_disabled) for $(value kernel.io_uring_group)"
    grep -q 'allowed to one group only' /root/said || fail "nobody is told about io_uring"
    [ "$(stat -c %a /etc/sysctl.d/91-kv-cache-io-uring.conf)" = 644 ] || fail "91-kv-cache-io-uring.conf cannot be read"
fi
rm /etc/sysctl.d/99-local.conf

# It serves, as its user, as configured.
serve() { setpriv --reuid kv-cache --regid kv-cache --clear-groups kv-server --config /etc/kv-cache/kv-cache.toml --no-pin >/root/server.log 2>&1 & }
answers() { for _ in $(seq 100); do kv-server ping --port "$1" >/dev/null 2>&1 && return 0; sleep 0.1; done; cat /root/server.log >&2; fail "no answer on port $1"; }
kv-server --config /etc/kv-cache/kv-cache.toml --print-config >/dev/null
serve
answers 7171
uring-bench run --connections 2 --keys 1000 --duration 500ms --verify >/dev/null
kill $!
wait $! || fail "the server ended with $?"

# An upgrade: what was edited stays, what was not is the new one's; what was disabled stays so; a mode of the operator's own as well.
sed -i 's/^#port = .*/port = 7999/' /etc/kv-cache/kv-cache.toml
rm "$wants/kv-cache-tune.service"
dpkg-statoverride --update --add root root 0600 /etc/kv-cache/kv-cache.toml
dpkg --force-confold -i /root/second.deb
grep -qx 'port = 7999' /etc/kv-cache/kv-cache.toml || fail "an upgrade has changed the configuration"
if grep -q 'A line of the new version' /etc/kv-cache/kv-cache.toml; then fail "an upgrade has replaced an edited configuration"; fi
grep -q 'A line of the new version' /etc/kv-cache/tune.env || fail "an upgrade keeps an old file that nobody edited"
[ ! -e "$wants/kv-cache-tune.service" ] || fail "an upgrade enables what was disabled"
[ "$(shown /etc/kv-cache/kv-cache.toml)" = "root:root 600" ] || fail "an upgrade overrides dpkg-statoverride"
dpkg-statoverride --remove /etc/kv-cache/kv-cache.toml
dpkg --force-confold -i /root/second.deb
[ "$(shown /etc/kv-cache/kv-cache.toml)" = "root:kv-cache 640" ] || fail "after a reinstallation the configuration is $(shown /etc/kv-cache/kv-cache.toml)"
serve
answers 7999
kill $!
wait $! || fail "the server ended with $?"

install -m 0600 /dev/stdin /etc/kv-cache/kv-cache.env <<<'KV_REQUIREPASS=secret'
dpkg --force-confold -i /root/second.deb
[ "$(shown /etc/kv-cache/kv-cache.env)" = "root:root 600" ] || fail "the password's file is $(shown /etc/kv-cache/kv-cache.env)"
dpkg -r kv-cache
[ ! -e /usr/bin/kv-server ] || fail "a removal leaves the server"
grep -qx 'port = 7999' /etc/kv-cache/kv-cache.toml || fail "a removal takes the configuration"
# install.sh has come meanwhile: a purge leaves what is its now.
mkdir -p /var/lib/kv-cache/install-backup
touch /var/lib/kv-cache/install-backup/manifest
dpkg -P kv-cache
grep -q secret /etc/kv-cache/kv-cache.env || fail "a purge takes what install.sh has"
getent passwd kv-cache >/dev/null || fail "a purge takes install.sh's user"
rm -r /var/lib/kv-cache
dpkg -i /root/first.deb
dpkg -P kv-cache
if getent passwd kv-cache || getent group kv-cache; then fail "a purge leaves the user"; fi
left=$(find /etc /usr /var -name '*kv-cache*' -o -name '*kv-server*')
[ -z "$left" ] || fail "a purge leaves $left"
echo "the .deb: installed, served, upgraded with an edited configuration, removed, purged"
