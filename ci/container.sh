#!/usr/bin/env bash
# Builds the image by the Dockerfile and runs it, on a machine that can pull no image: ci/container.sh [PROFILE]
#
# The Rust image that the Dockerfile starts from is made here: a Debian root, and this machine's own Rust mounted into it while the image is built.
# Buildah builds, podman runs: once with its default seccomp profile, once with Docker's, once with ours. Everything lies in a store of
# its own below target/, which is gone at the end; what stays are .ci/cache and target/container/kv-server, the static binary of the image.
# PROFILE is Cargo's, `fast` if not given, which is the same code compiled sooner. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "ci/container.sh: needs root, for debootstrap and for a store of its own" >&2; exit 2; }

profile=${1:-fast}
ci/setup.sh
# shellcheck source=ci/lib.sh
. ci/lib.sh
work=$PWD/target/container
cache=$PWD/.ci/cache/container
image=localhost/kv-cache
mkdir -p "$work" "$cache/tmp"

store=(--root "$work/store" --runroot "$work/run" --storage-driver overlay)
# Without systemd's bus podman cannot set timers for health checks; they are run by hand below.
export DISABLE_HC_SYSTEMD=true
builder() { buildah "${store[@]}" "$@"; }
pod() { podman "${store[@]}" --tmpdir "$work/tmp" --events-backend file --cgroup-manager cgroupfs --runtime runc "$@"; }

clean() {
    pod rm --all --force --time 0 >/dev/null 2>&1 || true
    builder rm --all >/dev/null 2>&1 || true
    # The driver mounts its own folder onto itself.
    umount "$work/store/overlay" 2>/dev/null || true
    rm -rf --one-file-system "$work/store" "$work/run" "$work/tmp" "$work/root"
}
trap clean EXIT
clean

fail() {
    echo "ci/container.sh: $1" >&2
    [ -z "${2:-}" ] || pod logs "$2" >&2
    exit 1
}

# The image that RUST_IMAGE of the Dockerfile names.
base() {
    local name container variable options=(--env 'PATH=/usr/local/rust/bin:/usr/bin:/bin' --env CARGO_HOME=/usr/local/cargo)
    name=$(sed -n 's/^ARG RUST_IMAGE=//p' Dockerfile)
    ci/rootfs.sh bookworm "$work/root" gcc,libc6-dev,ca-certificates
    # How this machine reaches its registry: certificates, Cargo's configuration, Cargo's variables about registries.
    cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
    mkdir -p "$work/root/usr/local/cargo" "$work/root/usr/local/rust"
    [ ! -f "${CARGO_HOME:-$HOME/.cargo}/config.toml" ] || cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$work/root/usr/local/cargo/"
    for variable in $(compgen -e | grep -E '^CARGO_(REGISTR|SOURCE|HTTP|NET)' || true); do
        options+=(--env "$variable=${!variable}")
    done
    container=$(builder from scratch)
    builder copy --quiet "$container" "$work/root" / >/dev/null
    builder config "${options[@]}" "$container"
    builder commit --quiet "$container" "$name" >/dev/null
    builder rm "$container" >/dev/null
    rm -rf "$work/root"
}

# TMPDIR is where Buildah keeps the Dockerfile's cache mounts: crates and compiled dependencies.
build() {
    TMPDIR=$cache/tmp builder bud --quiet --isolation chroot --format docker --pull-never --no-cache \
        --volume "$(rustc --print sysroot):/usr/local/rust:ro" \
        --build-arg "PROFILE=$profile" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
        --tag "$image" . >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; fail "the image could not be built"; }
}

# What the image says of itself; and its binary, which must need no library.
inspect() {
    local is
    # Buildah shows Docker's form whole; podman puts the health check elsewhere from version to version.
    is=$(builder inspect --type image "$image" | jq -r '.Docker.config | [.User, .StopSignal, (.Healthcheck.Test | join(" ")),
        (.ExposedPorts | keys | join(" ")), .Labels["org.opencontainers.image.version"]] | join("|")')
    local version
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    local should="65532:65532|SIGTERM|CMD /usr/local/bin/kv-server ping|7171/tcp|$version"
    [ "$is" = "$should" ] || fail "the image is $is, not $should"
    local container
    container=$(pod create "$image")
    pod cp "$container:/usr/local/bin/kv-server" "$work/kv-server"
    pod rm "$container" >/dev/null
    [[ $(readelf --program-headers "$work/kv-server") != *INTERP* ]] || fail "the binary is not static"
    "$work/kv-server" --version >/dev/null
}

# Limits that this machine allows; --ulimit memlock=-1:-1 is for one that may raise them.
memlock=$(ulimit -Hl)
[ "$memlock" = unlimited ] && memlock=-1 || memlock=$((memlock * 1024))
limits=(--ulimit "memlock=$memlock:$memlock" --ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=4096:4096)
port=$(free_port) admin=$(free_port)

# serve NAME [PODMAN-FLAGS]: starts the image and waits for it. The port comes by the environment, the rest by flags.
serve() {
    local name=$1
    shift
    pod run --detach --name "$name" --network host "${limits[@]}" --env "KV_PORT=$port" "$@" "$image" \
        --threads 1 --no-pin --admin-port "$admin" >/dev/null
    for _ in $(seq 100); do
        [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && return 0
        [ "$(pod inspect --format '{{.State.Running}}' "$name")" = true ] || break
        sleep 0.1
    done
    fail "$name does not answer" "$name"
}

# talks NAME ENGINE: it serves, by that engine, to the outside and to its own health check, as nobody.
talks() {
    local name=$1 engine=$2 pid
    [ "$(redis-cli -p "$port" set city Paris)" = OK ] || fail "SET is not answered by OK" "$name"
    [ "$(redis-cli -p "$port" get city)" = Paris ] || fail "GET finds another value than was set" "$name"
    [[ $(redis-cli -p "$port" info server) = *"io_engine:$engine"$'\r'* ]] || fail "INFO says another engine than $engine" "$name"
    [[ $(pod logs "$name" 2>&1) = *"  engine   $engine, 1 worker"* ]] || fail "the start lines say no $engine" "$name"
    pod exec "$name" kv-server ping >/dev/null || fail "ping finds no server" "$name"
    pod exec "$name" kv-server ping --host localhost >/dev/null || fail "ping does not know localhost" "$name"
    ! pod exec "$name" kv-server ping --port 1 >/dev/null 2>&1 || fail "ping finds a server where none is" "$name"
    pod healthcheck run "$name" || fail "the health check fails" "$name"
    pid=$(pod inspect --format '{{.State.Pid}}' "$name")
    grep -q "^Uid:.65532.65532.65532.65532$" "/proc/$pid/status" || fail "it runs as $(grep Uid "/proc/$pid/status")" "$name"
}

# ends NAME: SIGTERM, and the exit code is 0 within the time for draining.
ends() {
    local name=$1 began=$SECONDS code
    pod stop --time 20 "$name" >/dev/null
    code=$(pod inspect --format '{{.State.ExitCode}}' "$name")
    [[ $code = 0 && $((SECONDS - began)) -le 10 ]] || fail "SIGTERM: exit code $code after $((SECONDS - began)) s" "$name"
    pod rm "$name" >/dev/null
}

# The line that says why it is epoll. There must be one.
why_epoll() {
    local lines
    lines=$(pod logs "$1" 2>&1 | grep 'EPOLL INSTEAD OF IO_URING' || true)
    [[ $lines = *seccomp=*seccomp.json* && $lines != *$'\n'* ]] || fail "the start lines do not say, in one line, why it is epoll" "$1"
    printf 'EPOLL%s\n' "${lines#*EPOLL}"
}

base
echo "the base image is made (${SECONDS}s)"
build
inspect
echo "the image is built: $(stat --format %s "$work/kv-server") bytes, static, profile $profile (${SECONDS}s)"

# podman's default profile answers ENOSYS, Docker's EPERM: one line for both, but for the name.
serve podmans-default
talks podmans-default epoll
enosys=$(why_epoll podmans-default)
ends podmans-default
serve dockers-default --security-opt seccomp=deploy/seccomp-default.json
talks dockers-default epoll
eperm=$(why_epoll dockers-default)
ends dockers-default
[ "${enosys/ENOSYS/EPERM}" = "$eperm" ] || fail "two lines for one case: $enosys; $eperm"
echo "default profiles: $eperm"

# Ours, in the tightest container: nothing can be written, no capability, no way to get one.
serve ours --security-opt seccomp=deploy/seccomp.json --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges
talks ours io_uring
pod logs ours 2>&1 | sed -n '/engine/p'
[[ $(pod logs ours 2>&1) != *EPOLL* ]] || fail "io_uring, and yet a word of epoll" ours
ends ours

# The memory limit follows the container's: 70 % of it.
serve small --memory 256m --security-opt seccomp=deploy/seccomp.json
limit=$(redis-cli -p "$port" config get maxmemory | tail -n 1)
[[ $limit -gt 150000000 && $limit -lt 200000000 ]] || fail "the memory limit is $limit in a container of 256 MiB" small
echo "container of 256 MiB: memory limit $limit"
ends small
echo "container: all passed (${SECONDS}s)"
