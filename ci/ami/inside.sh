#!/usr/bin/env bash
# The part of ci/ami.sh that runs inside the image to be: inside.sh SYSTEM VERSION
# A chroot with a network of its own, in /tmp/kv-cache the release, in /root/user-data what the instance is told.
set -euo pipefail
system=$1 version=$2

fail() { echo "inside.sh: $system: $*" >&2; exit 1; }
[ -w /dev/null ] || { rm -f /dev/null; mknod -m 666 /dev/null c 1 3; }
for device in random:8 urandom:9 zero:5; do
    [ -e "/dev/${device%%:*}" ] || mknod -m 666 "/dev/${device%%:*}" c 1 "${device##*:}"
done

# What an image must not keep, so that cleanup has something to do.
ssh-keygen -A >/dev/null
mkdir -p /root/.ssh /home/somebody/.ssh /var/log/journal/x /var/lib/cloud/instances/i-1
for file in /root/.ssh/authorized_keys /home/somebody/.ssh/authorized_keys /root/.bash_history /var/log/journal/x/system.journal /var/log/old.gz; do
    echo secret >"$file"
done
echo secret >/var/log/messages
echo 0123456789abcdef0123456789abcdef >/etc/machine-id

# Twice: the second time changes nothing.
state() { find /etc /usr/local /var/lib/kv-cache* -xdev \( -type f -o -type l \) -printf '%p %m %u %g %l ' \( -type f -exec sha256sum {} \; -o -printf '\n' \) 2>/dev/null | sort; }
bash /tmp/kv-cache/ami/provision.sh
state >/root/once
bash /tmp/kv-cache/ami/provision.sh
state >/root/twice
diff /root/once /root/twice || fail "provisioning twice is not the same as once"

[ "$(kv-server --version)" = "kv-server $version" ] || fail "another server: $(kv-server --version)"
[ "$(stat -c '%U:%G %a' /etc/kv-cache/kv-cache.toml)" = "root:kv-cache 640" ] || fail "the configuration is $(stat -c '%U:%G %a' /etc/kv-cache/kv-cache.toml)"
for unit in kv-cache.service kv-cache-first-boot.service kv-cache-selftest.service; do
    [ -e "/etc/systemd/system/multi-user.target.wants/$unit" ] || fail "$unit is not enabled"
done
systemd-analyze verify --man=no /etc/systemd/system/kv-cache-first-boot.service /etc/systemd/system/kv-cache-selftest.service 2>/root/verify || { cat /root/verify >&2; fail "units"; }
if grep -E 'kv-cache-(first-boot|selftest)' /root/verify; then fail "systemd-analyze has something to say"; fi
# Also where the socket is enabled no unit waits for one that waits for it: systemd would leave one of them out.
mkdir -p /etc/systemd/system/sockets.target.wants
ln -s /etc/systemd/system/kv-cache.socket /etc/systemd/system/sockets.target.wants/
systemd-analyze verify --man=no multi-user.target 2>/root/verify || true
if grep 'ordering cycle' /root/verify; then fail "units wait for each other"; fi
rm /etc/systemd/system/sockets.target.wants/kv-cache.socket

# The SBOM names the server and each package that dpkg knows.
python3 - "$version" <<'PYTHON'
import json, subprocess, sys
bom = json.load(open("/usr/share/doc/kv-cache/sbom-image.cdx.json"))
names = {c["name"]: c for c in bom["components"]}
packages = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\n"], check=True, capture_output=True, text=True).stdout.split()
missing = [p for p in packages if p not in names]
assert not missing, missing
assert names["kv-server"]["version"] == names["uring-bench"]["version"] == sys.argv[1]
refs = [c["bom-ref"] for c in bom["components"]]
assert len(refs) == len(set(refs)), "a bom-ref is there twice"
assert names["libc6"]["purl"].startswith("pkg:deb/"), names["libc6"]
PYTHON

# The instance's first boot, by the programs as the units start them: metadata at its real address, the server at its real port.
ip link set lo up
ip address add 169.254.169.254/32 dev lo
python3 /root/ci/imds.py 169.254.169.254 80 /root/user-data &
/usr/local/lib/kv-cache/first-boot
grep -qx 'max-memory = "64MB"' /etc/kv-cache/kv-cache.toml || fail "the memory is not taken over"
grep -qx 'threads = 1' /etc/kv-cache/kv-cache.toml || fail "the number of threads is not taken over"
setpriv --reuid kv-cache --regid kv-cache --clear-groups kv-server --config /etc/kv-cache/kv-cache.toml --no-pin >/root/server.log 2>&1 &
server=$!
/usr/local/lib/kv-cache/self-test || { cat /root/server.log /var/log/kv-cache/selftest.json >&2; fail "the self-test failed"; }
python3 - <<'PYTHON'
import json
test = json.load(open("/var/log/kv-cache/selftest.json"))
assert test["instance"] == "i-0123456789abcdef0", test["instance"]
assert test["user_data"]["applied"] == {"memory": "64MB", "threads": "1"}, test["user_data"]
assert test["bench"]["requests"] > 1000 and test["bench"]["errors"] == 0 and test["bench"]["stored"] > 0, test["bench"]
assert test["doctor"]["report"]["findings"], test["doctor"]
assert test["verdict"] in ("pass", "warn"), test
print(f"self-test: {test['verdict']}, {test['bench']['requests_per_s']:.0f} requests/s")
PYTHON
# Once for an instance; and without a server it fails, and says so.
before=$(stat -c %Y.%i /var/log/kv-cache/selftest.json)
/usr/local/lib/kv-cache/self-test
[ "$(stat -c %Y.%i /var/log/kv-cache/selftest.json)" = "$before" ] || fail "the self-test ran twice for one instance"
kill "$server"
wait "$server" || fail "the server ended with $?"
sed -i 's/^SERVER_SECONDS = .*/SERVER_SECONDS = 1/' /usr/local/lib/kv-cache/self-test
if /usr/local/lib/kv-cache/self-test --again >/root/said; then fail "the self-test passes without a server"; fi
grep -q 'fail: the server does not answer on port 7171' /root/said || fail "the self-test says: $(cat /root/said)"

bash /tmp/kv-cache/ami/cleanup.sh
for gone in /etc/ssh/ssh_host_rsa_key /etc/ssh/ssh_host_ed25519_key.pub /root/.ssh/authorized_keys /home/somebody/.ssh/authorized_keys /root/.bash_history \
    /var/log/journal/x /var/log/old.gz /var/lib/cloud/instances /var/lib/kv-cache-image /var/log/kv-cache /tmp/kv-cache; do
    [ ! -e "$gone" ] || fail "cleanup leaves $gone"
done
if [ ! -f /etc/machine-id ] || [ -s /etc/machine-id ]; then fail "cleanup leaves the machine's id, or no file for it"; fi
[ ! -s /var/log/messages ] || fail "cleanup leaves logs"
for kept in /usr/local/bin/kv-server /etc/kv-cache/kv-cache.toml /usr/local/lib/kv-cache/first-boot; do
    [ -f "$kept" ] || fail "cleanup takes $kept"
done
echo "$system: provisioned twice, $(grep -c '"bom-ref"' /usr/share/doc/kv-cache/sbom-image.cdx.json) entries in the SBOM, first boot, self-test, cleanup"
