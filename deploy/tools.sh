#!/usr/bin/env bash
# Installs Cargo's commands that make packages into .ci/cache/bin: deploy/tools.sh cargo-deb|cargo-generate-rpm|cargo-cyclonedx…
#
# Compiled for a short build, not for speed: each is used for some seconds. On two cores the first two take about three minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols
for tool in "$@"; do
    options=()
    case $tool in
        cargo-deb) version=3.8.0 options=(--no-default-features --features lzma) ;;
        cargo-generate-rpm) version=0.21.1 ;;
        cargo-cyclonedx) version=0.5.9 ;;
        *) echo "deploy/tools.sh: $tool is not known here" >&2; exit 2 ;;
    esac
    [ ! -x ".ci/cache/bin/$tool" ] || continue
    echo "installing $tool $version"
    # One folder for all: they share what they are built of. It is not kept.
    CARGO_TARGET_DIR=$PWD/.ci/cache/tools cargo install --quiet --locked --root .ci/cache "${options[@]}" "$tool@$version"
done
rm -rf .ci/cache/tools
