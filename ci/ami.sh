#!/usr/bin/env bash
# Checks the images of ami/ without a cloud: ci/ami.sh [KV-SERVER URING-BENCH]
#
# Packer's description is validated, and that a mistake in it is found; first boot is run against a metadata service that wants tokens; the
# provisioner itself runs in a chroot, as root, for each distribution that it knows; server, first boot and self-test run there in a network
# namespace, where the metadata service has its real address; then cleanup. Needs root. Programs that are not given are built (target/debug).
set -euo pipefail
cd "$(dirname "$0")/.."

ci/setup.sh

if [ $# -eq 0 ]; then
    cargo build --quiet --workspace --bins
    set -- target/debug/kv-server target/debug/uring-bench
fi
server=$(realpath "$1")
bench=$(realpath "$2")
version=$("$server" --version | awk '{ print $2 }')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PACKER_CACHE_DIR=$work/cache

check() { echo "ami: $*"; }
fail() { echo "ci/ami.sh: $*" >&2; exit 1; }

# Packer 1.6.6 reads a copy of the folder without what it does not know: the file of the plugins and lines marked `# newer`.
known() {
    local file
    rm -rf "$1"
    mkdir -p "$1"
    for file in ami/*.pkr.hcl; do
        [ "$file" = ami/plugins.pkr.hcl ] || grep -v '# newer$' "$file" >"$1/${file##*/}"
    done
}

# validate FOLDER [OPTION…]: quiet if all is well. Files that a build needs are there, though empty.
validate() {
    local folder=$1
    shift
    packer validate -var "version=$version" -var "qemu_seed=$work/seed" -var "release_x86_64=$work/empty" \
        -var "release_arm64=$work/empty" "$@" "$folder" >"$work/said" 2>&1
}

mkdir "$work/seed"
touch "$work/empty" "$work/seed/user-data" "$work/seed/meta-data"
ssh-keygen -q -t ed25519 -N '' -f "$work/seed/key"
packer fmt -check -diff ami || fail "packer fmt ami would change what is shown above"
known "$work/hcl"
sources=(amazon-ebs.al2023-x86_64 amazon-ebs.al2023-arm64 amazon-ebs.ubuntu-x86_64 amazon-ebs.ubuntu-arm64 qemu.image)
[ "$(grep -c '^  source "source\.' ami/build.pkr.hcl)" = ${#sources[@]} ] || fail "ami/build.pkr.hcl has other sources than this script knows"
for source in "${sources[@]}"; do
    validate "$work/hcl" "-only=$source" || { cat "$work/said" >&2; fail "packer validate: $source"; }
done
validate "$work/hcl" -var qemu_arch=arm64 -var qemu_accelerator=tcg -only=qemu.image || { cat "$work/said" >&2; fail "packer validate: qemu, arm64"; }

# The validation is one: what is wrong is refused, for the reason that is meant.
refuses() {
    local reason=$1
    shift
    if validate "$work/hcl" "$@"; then fail "packer validate takes $*"; fi
    grep -q -- "$reason" "$work/said" || { cat "$work/said" >&2; fail "packer validate refuses $* for another reason than '$reason'"; }
}
refuses 'A region looks like' -var region=Frankfurt
refuses 'An account is twelve digits' -var 'share_with_accounts=["12345"]'
refuses 'The root volume has' -var root_gb=4
refuses 'Bad source' -var "release_arm64=$work/absent"
sed -i 's/throughput .*= 125/throughput = 5/' "$work/hcl/build.pkr.hcl"
refuses 'Throughput must be between'
known "$work/hcl"
sed -i 's/ena_support .*= true/ena_suport = true/' "$work/hcl/aws.pkr.hcl"
refuses 'ena_suport'

# What 1.6.6 does not see is at least this and nothing else.
unseen=$(sed -n 's/^ *\([a-z_]*\).*# newer$/\1/p' ami/*.pkr.hcl | sort -u | xargs)
expected="deprecate_at efi_boot efi_firmware_code http_endpoint http_put_response_hop_limit http_tokens imds_support metadata_options temporary_key_pair_type"
[ "$unseen" = "$expected" ] || fail "lines marked 'newer' are of: $unseen"
for wanted in 'imds_support *= "v2.0"' 'http_tokens *= "required"'; do
    grep -q "$wanted" ami/aws.pkr.hcl || fail "IMDSv2 is not required: no $wanted in ami/aws.pkr.hcl"
done
check "packer validate: ${#sources[@]} sources"

KV_SERVER=$server KV_CONFIG_FILE=deploy/kv-cache.toml python3 ci/ami/first_boot_test.py >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
check "first boot: $(sed -n 's/^Ran \([0-9]* tests\).*/\1/p' "$work/said")"

# A release as it is uploaded. Its SBOMs are the smallest that count as such, where cargo-cyclonedx is not there to make real ones.
if [ -x .ci/cache/bin/cargo-cyclonedx ]; then
    deploy/sbom.sh "$work/sboms"
else
    mkdir "$work/sboms"
    for program in kv-server uring-bench; do
        jq -n --arg name "$program" --arg version "$version" '{bomFormat: "CycloneDX", specVersion: "1.5", version: 1, components: [],
            metadata: {component: {type: "application", "bom-ref": $name, name: $name, version: $version}}}' >"$work/sboms/$program.cdx.json"
    done
fi
deploy/pack.sh "$server" "$bench" "$work/sboms" "$work/kv-cache-x86_64.tar.gz"
deploy/pack.sh "$server" "$bench" "$work/sboms" "$work/again/kv-cache-x86_64.tar.gz"
cmp "$work/kv-cache-x86_64.tar.gz" "$work/again/kv-cache-x86_64.tar.gz" || fail "the same files packed twice differ"

# One system, told to be another: what depends on the name is run, what depends on that system's own programs (dnf) is not.
declare -A systems=(
    [debian-12]='ID=debian VERSION_ID="12" PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"'
    [ubuntu-24.04]='ID=ubuntu ID_LIKE=debian VERSION_ID="24.04" PRETTY_NAME="Ubuntu 24.04 LTS"'
    [amzn-2023]='ID="amzn" ID_LIKE="fedora" VERSION_ID="2023" PRETTY_NAME="Amazon Linux 2023"'
)
for system in debian-12 ubuntu-24.04 amzn-2023; do
    root=$work/$system
    ci/rootfs.sh bookworm "$root" systemd,python3,openssh-server,iproute2,procps,kmod
    # (A link otherwise.)
    rm -f "$root/etc/os-release"
    printf '%s\n' "${systems[$system]}" | sed 's/ \([A-Z_]*=\)/\n\1/g' >"$root/etc/os-release"
    mkdir "$root/tmp/kv-cache"
    tar -C "$root/tmp/kv-cache" --strip-components=1 -xzf "$work/kv-cache-x86_64.tar.gz"
    cp -r ci/ami "$root/root/ci"
    printf 'memory = 64MB\nthreads = 1\n' >"$root/root/user-data"
    # Its own network, so that ports and addresses are free; its own processes, so that none is left.
    unshare --net --mount --pid --fork --kill-child --mount-proc="$root/proc" \
        chroot "$root" bash /root/ci/inside.sh "$system" "$version" >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "$system: see above"; }
    check "$(tail -n 1 "$work/said")"
done
[ ! -e "$work/debian-12/tmp/kv-cache" ] || fail "cleanup leaves the release"
