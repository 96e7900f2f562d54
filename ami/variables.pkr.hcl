# All that can be chosen. Files are named from the folder that Packer is started in, the root of the checkout.
#
# Conditions are written with `regex_replace(text, pattern, "") == ""`: 1.6.6 has no `regex`.

variable "version" {
  type        = string
  description = "The version of KV-Cache that is built in, as it stands in Cargo.toml."

  validation {
    condition     = var.version != "" && regex_replace(var.version, "^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$", "") == ""
    error_message = "The version is three numbers, such as 0.2.0."
  }
}

variable "release_x86_64" {
  type        = string
  default     = ""
  description = "The release for x86_64. Empty: what deploy/release.sh has made of this version."
}

variable "release_arm64" {
  type        = string
  default     = ""
  description = "The release for arm64. Empty: what deploy/release.sh has made of this version."
}

variable "output" {
  type        = string
  default     = "target/ami/out"
  description = "The folder for what a build leaves on this machine: the SBOM of each image, the list of images, QEMU's disks."
}

variable "upgrade" {
  type        = bool
  default     = true
  description = "Whether the distribution's own packages are brought up to date before KV-Cache is installed."
}

# Amazon

variable "region" {
  type        = string
  default     = "eu-central-1"
  description = "The region that the image is built in and registered in."

  validation {
    condition     = var.region != "" && regex_replace(var.region, "^[a-z]+-[a-z-]+-[0-9]$", "") == ""
    error_message = "A region looks like eu-central-1."
  }
}

variable "copy_to_regions" {
  type        = list(string)
  default     = []
  description = "Regions that the image is copied to."
}

variable "share_with_accounts" {
  type        = list(string)
  default     = []
  description = "Twelve-digit accounts that may launch the image. With the default key of EBS none can: name kms_key then."

  validation {
    condition     = regex_replace(join("", [for account in var.share_with_accounts : "<${account}>"]), "(<[0-9]{12}>)*", "") == ""
    error_message = "An account is twelve digits."
  }
}

variable "kms_key" {
  type        = string
  default     = ""
  description = "The key that encrypts the snapshots, by id, ARN or alias. Empty: the account's default key of EBS."
}

variable "subnet" {
  type        = string
  default     = ""
  description = "The subnet to build in. Empty: one of the default VPC."
}

variable "ssh_from" {
  type        = list(string)
  default     = ["0.0.0.0/0"]
  description = "Who may reach the building instance by SSH, with a key made for this build. Better your own address, such as 192.0.2.7/32."
}

variable "instance_type_x86_64" {
  type        = string
  default     = "c7i.large"
  description = "What builds the images for x86_64; it decides nothing about where they run."
}

variable "instance_type_arm64" {
  type        = string
  default     = "c7g.large"
  description = "What builds the images for arm64."
}

variable "al2023_kernel" {
  type        = string
  default     = "6.12"
  description = "The kernel of Amazon Linux 2023, 6.1 or 6.12: its images come with either."

  validation {
    condition     = contains(["6.1", "6.12"], var.al2023_kernel)
    error_message = "Amazon Linux 2023 comes with kernel 6.1 or 6.12."
  }
}

variable "root_gb" {
  type        = number
  default     = 10
  description = "GiB of the root volume. The cache itself keeps nothing on it."

  validation {
    condition     = var.root_gb >= 8 && var.root_gb <= 1024
    error_message = "The root volume has 8 to 1024 GiB: Amazon Linux's own snapshot is 8."
  }
}

variable "deprecate_after_days" {
  type        = number
  default     = 365
  description = "Days after which the image counts as deprecated: it still runs, but is no longer listed."

  validation {
    condition     = var.deprecate_after_days >= 1 && var.deprecate_after_days <= 730
    error_message = "Between 1 and 730 days: later than two years is refused by EC2."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags beside our own, for the image, its snapshots and what the build uses."
}

# QEMU

variable "qemu_image" {
  type        = string
  default     = "target/ami/cloud.qcow2"
  description = "A cloud image to begin with: a file or an address. Its cloud-init must know NoCloud, as those of Ubuntu, Debian and Amazon Linux do."
}

variable "qemu_checksum" {
  type        = string
  default     = "none"
  description = "The image's checksum, such as sha256:… or file:https://…/SHA256SUMS. `none` only for files that you made."
}

variable "qemu_arch" {
  type        = string
  default     = "x86_64"
  description = "x86_64 or arm64, as the image is."

  validation {
    condition     = contains(["x86_64", "arm64"], var.qemu_arch)
    error_message = "The architecture is x86_64 or arm64."
  }
}

variable "qemu_accelerator" {
  type        = string
  default     = "kvm"
  description = "kvm, tcg (any machine and either architecture, but slow), or hvf on a Mac."

  validation {
    condition     = contains(["kvm", "tcg", "hvf"], var.qemu_accelerator)
    error_message = "The accelerator is kvm, tcg or hvf."
  }
}

variable "qemu_firmware" {
  type        = string
  default     = "/usr/share/AAVMF/AAVMF_CODE.fd"
  description = "UEFI for arm64, which has no BIOS (Debian's package qemu-efi-aarch64). Not used for x86_64."
}

variable "qemu_seed" {
  type        = string
  default     = "target/ami/seed"
  description = "The folder with NoCloud's user-data and meta-data for the build, and the private key `key` that fits: ami/qemu.sh makes it."
}

variable "qemu_user" {
  type        = string
  default     = "ubuntu"
  description = "The image's own user: ubuntu, debian, ec2-user."
}

variable "qemu_memory_mb" {
  type        = number
  default     = 1024
  description = "MiB of memory while building."
}

variable "qemu_arguments" {
  type        = list(list(string))
  default     = []
  description = "More options of QEMU, such as [[\"-kernel\", \"vmlinuz\"], …] for an image without a boot loader."
}
