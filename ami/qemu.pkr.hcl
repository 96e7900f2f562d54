# The same image for QEMU, from a cloud image, on a developer's machine: no account, no cost. ami/qemu.sh makes the seed and starts it.
# Lines that end in `# newer`: see aws.pkr.hcl.

locals {
  qemu = {
    # Not q35: Debian's cloud kernel has no driver for its disc drive, and would not find the seed.
    x86_64 = { binary = "qemu-system-x86_64", machine = "pc" }
    arm64  = { binary = "qemu-system-aarch64", machine = "virt" }
  }
}

source "qemu" "image" {
  iso_url      = var.qemu_image
  iso_checksum = var.qemu_checksum
  disk_image   = true

  qemu_binary       = local.qemu[var.qemu_arch].binary
  machine_type      = local.qemu[var.qemu_arch].machine
  accelerator       = var.qemu_accelerator
  efi_boot          = var.qemu_arch == "arm64" # newer
  efi_firmware_code = var.qemu_firmware        # newer
  cpus              = 2
  memory            = var.qemu_memory_mb
  headless          = true
  disk_interface    = "virtio"
  disk_discard      = "unmap"
  disk_size         = "${var.root_gb}G"
  format            = "qcow2"
  disk_compression  = true
  output_directory  = "${var.output}/qemu-${var.qemu_arch}"
  vm_name           = "kv-cache-${var.version}-${var.qemu_arch}.qcow2"

  # NoCloud: cloud-init looks for a disc of this name.
  cd_files = ["${var.qemu_seed}/user-data", "${var.qemu_seed}/meta-data"]
  cd_label = "cidata"

  communicator              = "ssh"
  ssh_username              = var.qemu_user
  ssh_private_key_file      = "${var.qemu_seed}/key"
  ssh_timeout               = "20m"
  ssh_handshake_attempts    = 100
  ssh_clear_authorized_keys = true

  # The console of the machine that is built, for when it does not come up.
  qemuargs = concat(
    [["-serial", "file:${var.output}/qemu-console.log"]],
    var.qemu_accelerator == "tcg" ? [["-cpu", "max"]] : [["-cpu", "host"]],
    var.qemu_arguments,
  )
  shutdown_command = "sudo systemctl poweroff"
}
