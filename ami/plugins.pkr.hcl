# What Packer 1.7 and later fetch by `packer init`. A file of its own, since Debian's Packer (1.6.6, with these two built in) does not
# know the block: `ci/ami.sh` validates a copy of this folder without it.

packer {
  required_version = ">= 1.9.0"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.2.6, < 2.0.0"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.0.10, < 2.0.0"
    }
  }
}
