#!/usr/bin/env bash
# Makes a stand-in for a cloud image, for machines that cannot fetch one: ci/ami/cloud-image.sh FOLDER
#
# Debian 12 with its cloud kernel, cloud-init (NoCloud), ssh, sudo; the disk is one file system without a boot loader, so QEMU gets vmlinuz and
# initrd by -kernel. There will be root.qcow2, vmlinuz, initrd. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1
for tool in debootstrap mke2fs qemu-img; do
    command -v "$tool" >/dev/null || { echo "ci/ami/cloud-image.sh: needs $tool: apt-get install debootstrap e2fsprogs qemu-utils" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
# (debootstrap does not see that cffi-backend is what cloud-init needs by another name.)
ci/rootfs.sh bookworm "$root" linux-image-cloud-amd64,initramfs-tools,systemd,systemd-sysv,cloud-init,python3-cffi-backend,openssh-server,sudo,dbus,udev,iproute2,procps,kmod,python3

# It complains, in a chroot, that /proc is not mounted.
units() { chroot "$root" systemctl --quiet "$@" 2>"$work/said" || { cat "$work/said" >&2; return 1; }; }
units enable systemd-networkd.service systemd-networkd-wait-online.service
# What takes long where the processor is emulated, and does nothing for the test.
units mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty@tty1.service systemd-timesyncd.service
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\nLinkLocalAddressing=no\n' >"$root/etc/systemd/network/80-dhcp.network"
printf 'network: {config: disabled}\n' >"$root/etc/cloud/cloud.cfg.d/90-network.cfg"
# Other sources of data are searched for minutes; apt has no mirror to reach.
printf 'datasource_list: [NoCloud, None]\napt_preserve_sources_list: true\npackage_update: false\nlocale: false\n' >"$root/etc/cloud/cloud.cfg.d/91-source.cfg"
echo cloud >"$root/etc/hostname"
echo "127.0.0.1 localhost cloud" >"$root/etc/hosts"
echo "/dev/vda / ext4 defaults 0 1" >"$root/etc/fstab"
rm -rf "$root"/usr/share/{doc,man,locale}

mkdir -p "$folder"
cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$root"/boot/initrd.img-* "$folder/initrd"
mke2fs -q -t ext4 -d "$root" "$work/root.img" 3G >/dev/null
qemu-img convert -O qcow2 "$work/root.img" "$folder/root.qcow2"
