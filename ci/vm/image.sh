#!/usr/bin/env bash
# Makes the system that ci/vm.sh boots: ci/vm/image.sh SUITE FOLDER. There will be root.img (ext4), vmlinuz and initrd.
#
# It is made to start fast where the processor is emulated: only modules that the tests need, an initrd of one static busybox
# that loads the disk's driver, no console to log in at.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=$1 folder=$2 # the folder's name ends in a hyphen and what tells this version of the image

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
ci/rootfs.sh "$suite" "$root" linux-image-amd64,systemd,systemd-sysv,iproute2,procps,kmod,python3,busybox-static,adduser,ethtool,xz-utils

release=$(basename "$root"/lib/modules/*)
modules=$root/lib/modules/$release
# What stays of the kernel's modules: disk, file system, and everything of the network but its cards.
mkdir "$work/kept"
(
    cd "$modules"
    find kernel/drivers/virtio kernel/drivers/block/virtio_blk.ko* kernel/fs/ext4 kernel/fs/jbd2 kernel/fs/mbcache.ko* kernel/fs/autofs \
        kernel/lib kernel/crypto kernel/arch kernel/net/ipv4 kernel/net/ipv6 kernel/net/sched kernel/net/netfilter kernel/net/core \
        kernel/drivers/net/veth.ko* kernel/drivers/net/dummy.ko* kernel/drivers/net/virtio_net.ko* kernel/drivers/net/net_failover.ko* \
        kernel/fs/fuse kernel/drivers/char/hw_random -name '*.ko*' 2>/dev/null || true
) | tar -C "$modules" -cf - -T - | tar -C "$work/kept" -xf -
rm -rf "$modules/kernel"
mv "$work/kept/kernel" "$modules/kernel"
find "$modules" -name '*.ko.xz' -exec xz -d {} +
chroot "$root" depmod "$release"

# The initrd: busybox, and the modules that mount the disk, in the order in which they are wanted.
mkdir -p "$work/initrd"/{bin,modules,proc,sys,dev,new}
cp "$root/bin/busybox" "$work/initrd/bin/busybox"
chroot "$root" modprobe --set-version "$release" --show-depends --all virtio_pci virtio_blk ext4 |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/wanted"
# ext4 asks for its checksum by name, which no dependency tells.
grep -q crc32c_generic "$work/wanted" || find "$modules" -name 'crc32c_generic.ko' -printf '/lib/modules/%P\n' | sed "s,^/lib/modules/,/lib/modules/$release/," >>"$work/wanted"
order=100
while read -r module; do
    cp "$root$module" "$work/initrd/modules/$order-$(basename "$module")"
    order=$((order + 1))
done <"$work/wanted"
cat >"$work/initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for module in /modules/*; do /bin/busybox insmod "$module"; done
tries=0
while [ ! -b /dev/vda ] && [ "$tries" -lt 100 ]; do /bin/busybox sleep 0.1; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 /dev/vda /new || /bin/busybox poweroff -f
/bin/busybox mount --move /dev /new/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /new /sbin/init
INIT
chmod 755 "$work/initrd/init"

# What runs the test: it unpacks the second disk once, starts the script at each boot, and ends the machine when the script
# has ended without asking for a reboot. Not a oneshot, so that the boot is over while it runs.
cat >"$root/usr/local/sbin/kv-vm" <<'RUN'
#!/bin/bash
exec >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 -onlcr 2>/dev/null || true
if [ ! -d /root/carried ]; then
    mkdir /root/carried
    tar -C /root/carried -xf /dev/vdb
    install -m 755 /root/carried/bin/uring-bench /usr/local/bin/
fi
cd /root/carried || exit 1
boots=$(($(cat /root/boots 2>/dev/null || echo 0) + 1))
echo "$boots" >/root/boots
rm -f /root/reboot
KV_VM_BOOT=$boots bash -c "$(cat command)"
code=$?
if [ -e /root/reboot ] && [ "$code" = 0 ]; then
    systemctl reboot 2>/dev/null
else
    echo "guest exit $code"
    sync
    systemctl poweroff 2>/dev/null
fi
RUN
chmod 755 "$root/usr/local/sbin/kv-vm"
cat >"$root/etc/systemd/system/kv-vm.service" <<'UNIT'
[Unit]
Description=The script that this machine was started for
[Service]
Type=exec
ExecStart=/usr/local/sbin/kv-vm
[Install]
WantedBy=multi-user.target
UNIT
# It complains, on a changed root, that /proc is not mounted, and does what it is told.
units() { chroot "$root" systemctl --quiet "$@" 2>"$work/units" || { cat "$work/units" >&2; return 1; }; }
units enable kv-vm.service
units mask getty@tty1.service serial-getty@ttyS0.service getty-static.service systemd-timesyncd.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-hwdb-update.service modprobe@drm.service systemd-pcrphase.service systemd-random-seed.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount
# A card with a default route: what it leads to is not there, but it is the card whose queues are tuned.
cat >"$root/etc/systemd/network/80-card.network" <<'NETWORK'
[Match]
Name=eth0
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
NETWORK
units enable systemd-networkd.service systemd-networkd-wait-online.service
units set-default multi-user.target
echo kv-guest >"$root/etc/hostname"
echo "127.0.0.1 localhost kv-guest" >"$root/etc/hosts"
: >"$root/etc/fstab"
rm -rf "$root"/boot/initrd.img-* "$root"/usr/share/{doc,man,locale} "$root"/var/lib/apt/lists

# Of the same suite, by an earlier version of this script.
rm -rf "${folder%-*}"-*
mkdir -p "$folder"
cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
rm -f "$root"/boot/System.map-*
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$folder/root.img" 2G >/dev/null
# Last: it says that the rest is whole.
(cd "$work/initrd" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$work/initrd.cpio"
mv "$work/initrd.cpio" "$folder/initrd"
