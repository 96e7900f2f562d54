# Four images for EC2 and one for QEMU, provisioned alike.
#
# Nothing here is particular to a source but where it begins: the release is uploaded, provision.sh installs it by install.sh, the SBOM is
# fetched, cleanup.sh takes out what must not be the same on two machines.

locals {
  releases       = "target/release-${var.version}/kv-cache-${var.version}"
  release_x86_64 = var.release_x86_64 != "" ? var.release_x86_64 : "${local.releases}-x86_64.tar.gz"
  release_arm64  = var.release_arm64 != "" ? var.release_arm64 : "${local.releases}-aarch64.tar.gz"
}

build {
  source "source.amazon-ebs.image" {
    name            = "al2023-x86_64"
    ami_name        = "kv-cache-${var.version}-al2023-x86_64-${local.stamp}"
    ami_description = "KV-Cache ${var.version} on Amazon Linux 2023, x86_64"
    instance_type   = var.instance_type_x86_64
    ssh_username    = "ec2-user"

    source_ami_filter {
      owners      = [local.al2023_owner]
      most_recent = true
      filters = {
        name                = "${local.al2023_name}-x86_64"
        architecture        = "x86_64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }

    launch_block_device_mappings {
      device_name           = local.al2023_root
      volume_size           = var.root_gb
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      encrypted             = true
      delete_on_termination = true
    }
  }

  source "source.amazon-ebs.image" {
    name            = "al2023-arm64"
    ami_name        = "kv-cache-${var.version}-al2023-arm64-${local.stamp}"
    ami_description = "KV-Cache ${var.version} on Amazon Linux 2023, arm64"
    instance_type   = var.instance_type_arm64
    ssh_username    = "ec2-user"

    source_ami_filter {
      owners      = [local.al2023_owner]
      most_recent = true
      filters = {
        name                = "${local.al2023_name}-arm64"
        architecture        = "arm64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }

    launch_block_device_mappings {
      device_name           = local.al2023_root
      volume_size           = var.root_gb
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      encrypted             = true
      delete_on_termination = true
    }
  }

  source "source.amazon-ebs.image" {
    name            = "ubuntu-x86_64"
    ami_name        = "kv-cache-${var.version}-ubuntu24.04-x86_64-${local.stamp}"
    ami_description = "KV-Cache ${var.version} on Ubuntu 24.04, x86_64"
    instance_type   = var.instance_type_x86_64
    ssh_username    = "ubuntu"

    source_ami_filter {
      owners      = [local.ubuntu_owner]
      most_recent = true
      filters = {
        name                = "${local.ubuntu_name}-amd64-server-*"
        architecture        = "x86_64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }

    launch_block_device_mappings {
      device_name           = local.ubuntu_root
      volume_size           = var.root_gb
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      encrypted             = true
      delete_on_termination = true
    }
  }

  source "source.amazon-ebs.image" {
    name            = "ubuntu-arm64"
    ami_name        = "kv-cache-${var.version}-ubuntu24.04-arm64-${local.stamp}"
    ami_description = "KV-Cache ${var.version} on Ubuntu 24.04, arm64"
    instance_type   = var.instance_type_arm64
    ssh_username    = "ubuntu"

    source_ami_filter {
      owners      = [local.ubuntu_owner]
      most_recent = true
      filters = {
        name                = "${local.ubuntu_name}-arm64-server-*"
        architecture        = "arm64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }

    launch_block_device_mappings {
      device_name           = local.ubuntu_root
      volume_size           = var.root_gb
      volume_type           = "gp3"
      iops                  = 3000
      throughput            = 125
      encrypted             = true
      delete_on_termination = true
    }
  }

  # For QEMU the architecture is a variable, and so is the release.
  source "source.qemu.image" {
    name = "image"
  }

  provisioner "file" {
    only        = ["amazon-ebs.al2023-x86_64", "amazon-ebs.ubuntu-x86_64"]
    source      = local.release_x86_64
    destination = "/tmp/kv-cache.tar.gz"
  }

  provisioner "file" {
    only        = ["amazon-ebs.al2023-arm64", "amazon-ebs.ubuntu-arm64"]
    source      = local.release_arm64
    destination = "/tmp/kv-cache.tar.gz"
  }

  provisioner "file" {
    only        = ["qemu.image"]
    source      = var.qemu_arch == "arm64" ? local.release_arm64 : local.release_x86_64
    destination = "/tmp/kv-cache.tar.gz"
  }

  # cloud-init may still be at work, with apt's or dnf's lock in its hands. That it ends is what counts: what it could not do, it says.
  provisioner "shell" {
    inline = [
      "sudo cloud-init status --wait || sudo cloud-init status --long || true",
      "mkdir /tmp/kv-cache",
      "tar -C /tmp/kv-cache --strip-components=1 -xzf /tmp/kv-cache.tar.gz",
      "sudo UPGRADE=${var.upgrade} bash /tmp/kv-cache/ami/provision.sh",
    ]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/usr/share/doc/kv-cache/sbom-image.cdx.json"
    destination = "${var.output}/kv-cache-${var.version}-${source.type}-${source.name}.cdx.json"
  }

  # The last thing that runs there.
  provisioner "shell" {
    inline = ["sudo bash /tmp/kv-cache/ami/cleanup.sh"]
  }

  post-processor "manifest" {
    output     = "${var.output}/manifest.json"
    strip_path = true
    custom_data = {
      version = var.version
    }
  }
}
