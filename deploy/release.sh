#!/usr/bin/env bash
# Makes a release in target/release-VERSION: a tarball with install.sh, .deb, .rpm, SBOMs, checksums.
#
#     deploy/release.sh                 checks version, changelog, tag and tree, then builds
#     deploy/release.sh --dry-run       says what it would do and what stands against it; exits with 1 if anything does
#
# --no-checks   builds although something stands against it: a trial, not to be published
# --server PATH --bench PATH   takes these programs instead of building them
#
# Programs are linked statically against glibc, so that one runs on every distribution. TARGET is the machine's own, or
# aarch64-unknown-linux-gnu with Rust's std for it and gcc-aarch64-linux-gnu; RUNNER then runs such a program here (qemu-aarch64-static).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "release.sh: $*" >&2; exit 1; }
dry='' checks=1 server='' bench=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=1 ;;
        --no-checks) checks='' ;;
        --server) server=$2; shift ;;
        --bench) bench=$2; shift ;;
        -h | --help) sed -n '2,/^set /{/^set /!s/^# \?//p}' "$0"; exit 0 ;;
        *) fail "unknown option $1; --help lists them" ;;
    esac
    shift
done
if [ -n "$server$bench" ]; then
    [ -f "$server" ] || fail "--server and --bench go together; there is no '$server'"
    [ -f "$bench" ] || fail "--server and --bench go together; there is no '$bench'"
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}
arch=${target%%-*}
read -r -a runner <<<"${RUNNER:-}"
output=target/release-$version

# What stands against it, one line each.
against=()
bench_version=$(sed -n 's/^version = "\(.*\)"/\1/p' uring-bench/Cargo.toml | head -n 1)
[ "$bench_version" = "$version" ] || against+=("uring-bench/Cargo.toml has version $bench_version, Cargo.toml $version")
heading=$(grep -m 1 '^## ' CHANGELOG.md || true)
case $heading in
    "## $version (unreleased)") against+=("CHANGELOG.md still says '$heading': write the date, such as '## $version ($(date +%F))'") ;;
    "## $version ("[0-9]*")") ;;
    *) against+=("CHANGELOG.md begins with '$heading', not with version $version") ;;
esac
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then against+=("the tree has changes that are not committed: git status"); fi
tagged=$(git rev-parse -q --verify "refs/tags/v$version^{commit}" || true)
if [ -z "$tagged" ]; then
    against+=("there is no tag v$version: git tag -a v$version -m 'Version $version'")
elif [ "$tagged" != "$(git rev-parse HEAD)" ]; then
    against+=("the tag v$version is not what is checked out: git checkout v$version, or raise the version")
fi
cargo metadata --locked --format-version 1 >/dev/null 2>&1 || against+=("Cargo.lock does not fit Cargo.toml: cargo check")

for line in "${against[@]}"; do echo "release.sh: $line" >&2; done
name=kv-cache-$version-$arch
if [ -n "$dry" ]; then
    echo "version $version for $target; would write to $output:"
    printf '  %s\n' "$name.tar.gz" "kv-cache_$version-1_$(case $arch in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) echo "$arch" ;; esac).deb" \
        "kv-cache-$version-1.$arch.rpm" kv-server.cdx.json uring-bench.cdx.json "SHA256SUMS.$arch"
    [ ${#against[@]} -eq 0 ] || exit 1
    exit 0
fi
if [ ${#against[@]} -gt 0 ] && [ -n "$checks" ]; then fail "nothing is built; --no-checks does it all the same, for a trial"; fi

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
if [ -z "$server" ]; then
    # Names of functions stay, for perf and backtraces; lines do not.
    flags="-C target-feature=+crt-static --remap-path-prefix=$PWD=/kv-cache"
    linker=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_LINKER
    if [ "$arch" = aarch64 ] && [ "$(uname -m)" != aarch64 ] && [ -z "${!linker:-}" ]; then
        export "$linker=aarch64-linux-gnu-gcc"
    fi
    RUSTFLAGS=$flags CARGO_PROFILE_RELEASE_STRIP=debuginfo cargo build --release --locked --workspace --bins --target "$target"
    server=target/$target/release/kv-server bench=target/$target/release/uring-bench
fi
[ "$("${runner[@]}" "$server" --version)" = "kv-server $version" ] || fail "$server is not version $version"

mkdir -p "$output"
deploy/sbom.sh "$output" "$target"
deploy/pack.sh "$server" "$bench" "$output" "$output/$name.tar.gz"
deploy/tools.sh cargo-deb cargo-generate-rpm
PATH=$PWD/.ci/cache/bin:$PATH
deploy/stage.sh "$server" "$bench" "${runner[@]}"
cargo deb --quiet --no-build --no-strip --target "$target" -o "$output/" >/dev/null
cargo generate-rpm --target "$target" -o "$output/"
(cd "$output" && sha256sum -- *.tar.gz *.deb *.rpm *.cdx.json >"SHA256SUMS.$arch")
ls -l "$output"
