#!/usr/bin/env bash
# Takes out of a system what must not be the same on two machines, or is nobody's business: keys, ids, logs, histories, cloud-init's state.
# The last thing that runs before an image is made. Needs root.
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "cleanup.sh: needs root" >&2; exit 1; }

# What a server that ran meanwhile has made of itself: the image's first boot decides anew.
if [ -d /run/systemd/system ]; then
    systemctl stop kv-cache-selftest.service kv-cache-first-boot.service kv-cache.service || true
fi
rm -rf /var/lib/kv-cache-image /var/log/kv-cache

# cloud-init: all instances that it has seen, its logs, and the network settings it wrote. Host keys go too; it makes new ones, and where
# there is no cloud-init, ssh's own unit or the line below does.
if command -v cloud-init >/dev/null; then
    cloud-init clean --logs --seed || cloud-init clean --logs
fi
rm -rf /var/lib/cloud/instances /var/lib/cloud/instance /var/lib/cloud/data
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub

# Who may log in: nobody, until the first boot says who.
for home in /root /home/*; do
    rm -f "$home"/.ssh/authorized_keys "$home"/.ssh/authorized_keys2 "$home"/.ssh/known_hosts
    rm -f "$home"/.bash_history "$home"/.python_history "$home"/.lesshst "$home"/.viminfo "$home"/.wget-hsts
    rm -rf "$home"/.cache "$home"/.aws
    rm -f "$home"/.sudo_as_admin_successful
done
passwd -l root >/dev/null

# Empty rather than absent: systemd writes the machine's id at the first boot, and D-Bus's is a link to it.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -f /etc/hostname.*~ /var/lib/dhcp/* /var/lib/dhclient/* /var/lib/NetworkManager/*.lease 2>/dev/null || true

# Packages' caches and lists.
if command -v apt-get >/dev/null; then
    apt-get clean
    rm -rf /var/lib/apt/lists/*
elif command -v dnf >/dev/null; then
    dnf -q clean all
    rm -rf /var/cache/dnf
fi

# Logs: files of the journal and rotated ones go, the others are emptied, with the modes that their writers want.
rm -rf /var/log/journal/* /run/log/journal/*
find /var/log -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.[0-9]' -o -name '*.old' \) -delete
find /var/log -type f -exec truncate -s 0 {} +

# The release that was uploaded, and all else that was put aside. The script itself lies there; bash has read it by now.
rm -rf /tmp/kv-cache /tmp/kv-cache.tar.gz
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' -exec rm -rf {} + 2>/dev/null || true

# Blocks that are free become holes: the snapshot and QEMU's disk are smaller.
fstrim -a 2>/dev/null || true
sync
