# The images for EC2: what the four have in common. What is particular to a distribution or an architecture is in build.pkr.hcl.
#
# Lines that end in `# newer` are left out by ci/ami.sh: Debian's Packer 1.6.6, which checks this folder, does not know them. They are thus
# not validated there, only checked for being these and no others.

locals {
  stamp = formatdate("YYYYMMDD-hhmm", timestamp())

  tags = merge(var.tags, {
    Application = "kv-cache"
    Version     = var.version
    BuiltAt     = local.stamp
  })

  # By whom and under which name the images that we begin with are published.
  al2023_owner = "137112412989" # Amazon
  ubuntu_owner = "099720109477" # Canonical
  al2023_name  = "al2023-ami-2023.*-kernel-${var.al2023_kernel}"
  ubuntu_name  = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04"

  # What EC2 calls the root device, which depends on the distribution.
  al2023_root = "/dev/xvda"
  ubuntu_root = "/dev/sda1"
}

source "amazon-ebs" "image" {
  region                                = var.region
  ami_regions                           = var.copy_to_regions
  ami_users                             = var.share_with_accounts
  subnet_id                             = var.subnet
  associate_public_ip_address           = true
  temporary_security_group_source_cidrs = var.ssh_from
  communicator                          = "ssh"
  ssh_timeout                           = "10m"
  temporary_key_pair_type               = "ed25519" # newer
  ssh_clear_authorized_keys             = true
  shutdown_behavior                     = "terminate"
  ami_virtualization_type               = "hvm"
  ena_support                           = true
  sriov_support                         = true
  encrypt_boot                          = true
  kms_key_id                            = var.kms_key
  imds_support                          = "v2.0"                                                    # newer
  deprecate_at                          = timeadd(timestamp(), "${var.deprecate_after_days * 24}h") # newer

  # The building instance itself answers tokens only, too.
  metadata_options {                         # newer
    http_endpoint               = "enabled"  # newer
    http_tokens                 = "required" # newer
    http_put_response_hop_limit = 1          # newer
  }                                          # newer

  tags            = local.tags
  run_tags        = merge(local.tags, { Name = "kv-cache image build" })
  run_volume_tags = merge(local.tags, { Name = "kv-cache image build" })
  snapshot_tags   = local.tags

  aws_polling {
    delay_seconds = 15
    max_attempts  = 120
  }
}
