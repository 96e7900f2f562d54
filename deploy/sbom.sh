#!/usr/bin/env bash
# Writes the SBOM of both programs, what of crates.io is in them, as CycloneDX: deploy/sbom.sh FOLDER [TARGET]
#
# By cargo-cyclonedx, CycloneDX's own. There will be kv-server.cdx.json and uring-bench.cdx.json.
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1")
cd "$(dirname "$0")/.."
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}

deploy/tools.sh cargo-cyclonedx
PATH=$PWD/.ci/cache/bin:$PATH
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
cargo cyclonedx -qq --format json --spec-version 1.5 --target "$target" --override-filename sbom-of-this
# The folder that this was built in is nobody's business and differs from build to build.
for crate in kv-server:. uring-bench:uring-bench; do
    sed "s,path+file://$PWD,path+file:///kv-cache,g" "${crate#*:}/sbom-of-this.json" >"$folder/${crate%%:*}.cdx.json"
    rm "${crate#*:}/sbom-of-this.json"
done
