#!/usr/bin/env bash
# Installs KV-Cache as a service: binary, user, configuration, unit, limits, kernel settings. Running it again mends what has drifted
# and takes a new version; what is as it should be is left alone.
#
#     sudo ./install.sh               installs, or brings up to date
#     sudo ./install.sh --dry-run     prints every change, makes none
#     sudo ./install.sh --check       exits with 1 if something is not as it was installed, and names it
#     sudo ./install.sh --uninstall   sets back what was there before; an edited configuration stays
#
# Options:
#     --binary PATH       the kv-server to install; else the one beside this script; else `cargo build --release` here
#     --memory SIZE       max-memory in a new configuration, such as 4GB or 70%
#     --no-tune           no kernel settings and no kv-cache-tune: only what the service needs
#     --io-uring-group    allow io_uring to the group kv-cache alone (kernel.io_uring_disabled = 1, Linux 6.6 and later)
#     --no-start          enable the service, do not start it
#     --purge             with --uninstall: remove the configuration too
#     --force             on a distribution that it is not made for
#
# For Amazon Linux 2023, Ubuntu 22.04 and 24.04, Debian 12 and 13; the tests run it on Debian, and elsewhere only what depends on
# the distribution's name. Works in a chroot, where it sets nothing of the running kernel and starts nothing. What was there before is kept in /var/lib/kv-cache/install-backup.
set -Eeuo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=kv-cache
home=/var/lib/kv-cache
backup=$home/install-backup
# What was done, one line each, written before it is done: KIND, what, more; with tabs between.
manifest=$backup/manifest
units=/etc/systemd/system
config=/etc/kv-cache/kv-cache.toml
binary=/usr/local/bin/kv-server
tune=/usr/local/sbin/kv-cache-tune
sysctl_file=/etc/sysctl.d/90-kv-cache.conf
io_uring_file=/etc/sysctl.d/91-kv-cache-io-uring.conf

action=install new_binary='' memory='' with_tune=1 io_uring_group='' start=1 purge='' force=''
restart_needed='' tune_restart_needed='' version=kv-server

usage() { sed -n '2,/^set /{/^set /!s/^# \?//p}' "${BASH_SOURCE[0]}"; }

# shellcheck source=deploy/install/common.sh
. "$here/deploy/install/common.sh"
# shellcheck source=deploy/install/kernel.sh
. "$here/deploy/install/kernel.sh"
# shellcheck source=deploy/install/undo.sh
. "$here/deploy/install/undo.sh"

supported() {
    case "${ID:-}-${VERSION_ID:-}" in
        amzn-2023 | amzn-2023.* | ubuntu-22.04 | ubuntu-24.04 | debian-12 | debian-13) ;;
        *) return 1 ;;
    esac
}

step_system() {
    local ID='' VERSION_ID='' PRETTY_NAME='' release
    # shellcheck source=/dev/null
    [ ! -r /etc/os-release ] || . /etc/os-release
    if ! supported; then
        [ -n "$force" ] || die "This is ${PRETTY_NAME:-an unknown system} (${ID:-no ID} ${VERSION_ID:-without a version}), for which install.sh is not made." \
            "It is made for Amazon Linux 2023, Ubuntu 22.04 and 24.04, Debian 12 and 13. To try all the same: $0 --force"
        say skipped "the test for a known distribution (--force): this is ${PRETTY_NAME:-unknown}"
    fi
    [ -f "$here/deploy/kv-cache.service" ] || die "The folders deploy and sysctl are not beside this script." "Run install.sh from a release or a clone of the sources."
    if packaged; then
        die "KV-Cache is installed here as a package." "Update it by apt or dnf; or remove the package first, then run this again."
    fi
    release=$(uname -r)
    if ! printf '6.1\n%s\n' "$release" | sort -VC; then
        say warning "Linux $release is older than 6.1: the server will run on epoll, 6 to 16 % slower than on io_uring"
        [ "$ID-$VERSION_ID" != ubuntu-22.04 ] || say '' "a newer kernel: apt install linux-generic-hwe-22.04, on EC2 linux-aws; then reboot"
    fi
    if in_chroot; then say skipped "the running kernel and services: this is a chroot"; fi
    scratch=$(mktemp -d)
}

# Cargo of root, or of whoever called sudo; as that user, so that nothing in the clone becomes root's.
build() {
    local cargo as=() user_home
    cargo=$(command -v cargo || true)
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        user_home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        [ ! -x "$user_home/.cargo/bin/cargo" ] || cargo=$user_home/.cargo/bin/cargo
        as=(runuser -u "$SUDO_USER" --)
    fi
    [ -n "$cargo" ] || die "There is no kv-server beside this script, and no cargo to build one." \
        "Give one: $0 --binary PATH; or install Rust (https://rustup.rs) and a C compiler (gcc), and run this again."
    new_binary=${CARGO_TARGET_DIR:-$here/target}/release/kv-server
    if [ "$action" = dry-run ]; then
        say would "build $new_binary: cargo build --release"
        return
    fi
    say '...' "building kv-server, some minutes the first time"
    (cd "$here" && "${as[@]}" "$cargo" build --quiet --release --locked --bin kv-server)
}

step_find() {
    local candidate said
    if [ -z "$new_binary" ]; then
        for candidate in "$here/kv-server" "$here/bin/kv-server"; do
            [ ! -f "$candidate" ] || new_binary=$candidate
        done
        if [ -z "$new_binary" ] && [ -f "$here/Cargo.toml" ]; then build; fi
    fi
    [ -n "$new_binary" ] || die "There is no kv-server beside this script." "Give one: $0 --binary PATH"
    if [ ! -f "$new_binary" ]; then
        [ "$action" = dry-run ] || die "There is no file $new_binary."
        return 0
    fi
    # Built for another processor or another C library, it shows here and not in a service that does not start.
    said=$("$new_binary" --version 2>&1) || die "$new_binary does not run here: $said" \
        "It may be built for another processor (this is $(uname -m)) or for another distribution."
    version=$said
}

step_user() {
    local nologin
    nologin=$(command -v nologin || echo /usr/sbin/nologin)
    if ! getent group "$name" >/dev/null; then
        changed "group $name"
        if [ "$action" = install ]; then
            has group "$name" || record group "$name"
            groupadd --system "$name"
        fi
    fi
    if ! getent passwd "$name" >/dev/null; then
        changed "user $name, without a login"
        if [ "$action" = install ]; then
            has user "$name" || record user "$name"
            useradd --system --gid "$name" --no-create-home --home-dir /nonexistent --shell "$nologin" --comment KV-Cache "$name"
        fi
    fi
}

# what_it_prints PATH MODE ARGUMENT...: a file that the binary itself writes, if it is new enough to know how.
what_it_prints() {
    local path=$1 mode=$2 made=$scratch/${1##*/}
    shift 2
    if [ ! -f "$new_binary" ] || ! "$new_binary" "$@" >"$made" 2>/dev/null; then
        say skipped "$path: this kv-server does not write it"
        return
    fi
    put "$made" "$path" "$mode"
}

step_binary() {
    if [ -f "$new_binary" ]; then
        put "$new_binary" "$binary" 0755
    else
        changed "$binary, once it is built"
    fi
    what_it_prints /usr/local/share/man/man1/kv-server.1 0644 man
    what_it_prints /usr/local/share/bash-completion/completions/kv-server 0644 completions bash
    # To check and to uninstall when the release is no longer here.
    local part
    for part in install.sh deploy/install/{common,kernel,undo}.sh; do put "$here/$part" "$home/$part" 0755; done
}

# wanted_config: the file as shipped, with the memory that was asked for now or at an earlier time.
wanted_config() {
    cp "$here/deploy/kv-cache.toml" "$scratch/kv-cache.toml"
    local asked=${memory:-$(field memory config 3)}
    [ -n "$asked" ] || return 0
    sed -i -E "0,/^#? ?max-memory *=.*/s//max-memory = \"$asked\"/" "$scratch/kv-cache.toml"
    grep -q "^max-memory = \"$asked\"" "$scratch/kv-cache.toml" || echo "max-memory = \"$asked\"" >>"$scratch/kv-cache.toml"
}

# A configuration is the operator's from the moment that it is edited.
put_config() {
    local source=$1 path=$2 mode=$3 owner=$4 shipped
    shipped=$(sum "$source")
    if [ ! -e "$path" ] || [ "$(sum "$path")" = "$(field content "$path" 3)" ] || [ "$(sum "$path")" = "$shipped" ]; then
        put "$source" "$path" "$mode" "$owner"
    else
        if [ "$(owner_and_mode "$path")" != "$owner ${mode#0}" ]; then
            changed "owner and mode of $path: $owner $mode"
            # Noted, so that the uninstaller does not leave it to a group that is gone.
            if [ "$action" = install ]; then keep_old "$path" && chown "$owner" "$path" && chmod "$mode" "$path"; fi
        fi
        say kept "$path: it has been edited"
        if [ "$shipped" != "$(field shipped "$path" 3)" ] && has shipped "$path"; then
            put "$source" "$path.new" "$mode" "$owner"
            say '' "the new version's is $path.new"
        fi
    fi
    if [ "$action" = install ] && [ "$shipped" != "$(field shipped "$path" 3)" ]; then record shipped "$path" "$shipped"; fi
}

step_config() {
    wanted_config
    if [ -n "$memory" ] && [ -e "$config" ] && [ "$(sum "$config")" != "$(field content "$config" 3)" ] && [ "$(sum "$config")" != "$(sum "$scratch/kv-cache.toml")" ]; then
        say skipped "--memory: $config has been edited, set max-memory there"
    elif [ -n "$memory" ] && [ "$action" = install ] && [ "$memory" != "$(field memory config 3)" ]; then
        record memory config "$memory"
    fi
    put_config "$scratch/kv-cache.toml" "$config" 0640 "root:$name"
    put_config "$here/deploy/tune.env" /etc/kv-cache/tune.env 0644 root:root
    if [ -r "$config" ] && [ -f "$new_binary" ] && [[ "$("$new_binary" --help)" == *--print-config* ]]; then
        said=$("$new_binary" --config "$config" --print-config 2>&1 >/dev/null) || die "$said" "Correct $config, then run this again."
    fi
}

step_service() {
    put "$here/deploy/kv-cache.service" "$units/kv-cache.service" 0644
    put "$here/deploy/kv-cache.socket" "$units/kv-cache.socket" 0644
    link "$units/kv-cache.service" "$units/multi-user.target.wants/kv-cache.service"
}

step_limits() {
    put "$here/deploy/limits.conf" "$units/kv-cache.service.d/limits.conf" 0644
    put "$here/deploy/limits.d.conf" /etc/security/limits.d/90-kv-cache.conf 0644
}

step_tune() {
    put "$here/deploy/kv-cache-tune" "$tune" 0755
    put "$here/deploy/kv-cache-tune.service" "$units/kv-cache-tune.service" 0644
    link "$units/kv-cache-tune.service" "$units/multi-user.target.wants/kv-cache-tune.service"
    if ! with_systemd; then
        say skipped "huge pages and network card: kv-cache-tune sets them when the machine boots with systemd"
    elif [ "$action" = dry-run ]; then
        bash "$here/deploy/kv-cache-tune" --dry-run | grep -v '^  ok' || true
    else
        systemctl daemon-reload
        if [ -n "$tune_restart_needed" ] || ! systemctl --quiet is-active kv-cache-tune; then
            changed "kv-cache-tune, run"
            systemctl restart kv-cache-tune || untaken+=("kv-cache-tune failed: journalctl -u kv-cache-tune")
        fi
    fi
}

step_start() {
    if ! with_systemd; then
        say skipped "starting it: systemd does not run here; it is enabled for the next boot"
        return
    fi
    if [ -z "$start" ]; then
        say skipped "starting it (--no-start): systemctl start kv-cache"
        return
    fi
    if systemctl --quiet is-active kv-cache && [ -z "$restart_needed" ]; then return; fi
    changed "kv-cache, $(systemctl --quiet is-active kv-cache && echo "restarted: what it held is gone" || echo started)"
    [ "$action" = install ] || return 0
    systemctl daemon-reload
    systemctl reset-failed kv-cache 2>/dev/null || true
    if ! systemctl restart kv-cache; then
        journalctl --no-pager -q -u kv-cache -n 15 -o cat >&2 || true
        die "The service does not start; what it said stands above." "See also: kv-server doctor, and journalctl -u kv-cache"
    fi
    record started kv-cache
}

step_read_back() {
    local pid limit have what
    with_systemd && [ -n "$start" ] && [ "$action" = install ] || return 0
    pid=$(systemctl show -P MainPID kv-cache)
    if [ ! -r "/proc/$pid/limits" ]; then
        untaken+=("the service does not run: journalctl -u kv-cache -n 30")
        return 0
    fi
    for what in "Max open files:1048576" "Max locked memory:unlimited"; do
        limit=${what#*:}
        have=$(awk -v what="${what%:*}" 'index($0, what) == 1 { print $(NF - 1) }' "/proc/$pid/limits")
        [ "$have" = "$limit" ] || untaken+=("${what%:*} of the service is $have, not $limit: another drop-in, see systemctl cat kv-cache")
    done
    [ ${#untaken[@]} = 0 ] || say warning "not all of it took, see below"
}

what_next() {
    local line
    echo
    if [ "$action" = dry-run ]; then
        echo "$changes changes would be made; nothing was."
        return
    fi
    if [ "$changes" = 0 ]; then echo "$version: everything was as it should be."; else echo "$version is installed; $changes changes."; fi
    if [ ${#untaken[@]} -gt 0 ]; then
        echo "What did not take:"
        for line in "${untaken[@]}"; do echo "  $line"; done
    fi
    echo "Next:"
    if with_systemd && systemctl --quiet is-active kv-cache; then
        echo "  kv-server ping                        # it answers"
    else
        echo "  sudo systemctl start kv-cache         # or reboot"
    fi
    cat <<TEXT
  sudo kv-server doctor                 # what else would make it faster or safer
  journalctl -u kv-cache                # what it says
  sudo systemctl restart kv-cache       # after a change of $config (memory, ports)
Without a password it serves this machine only. To set one: KV_REQUIREPASS=... in /etc/kv-cache/kv-cache.env, readable by root alone.
Later: sudo $home/install.sh --check, or --uninstall
TEXT
}

install_all() {
    echo "KV-Cache: $([ "$action" = dry-run ] && echo "what install.sh would do" || echo "installing")"
    step step_system "system"
    step step_find "binary found"
    step step_user "user and group"
    step step_binary "binary"
    step step_config "configuration"
    step step_service "service"
    step step_limits "limits"
    if [ -n "$with_tune" ]; then
        step step_kernel "kernel settings"
        step step_tune "huge pages and network card"
    fi
    step step_start "start"
    step step_read_back "read back"
    run_steps
    what_next
}

while [ $# -gt 0 ]; do
    case $1 in
        --dry-run | --check | --uninstall) action=${1#--} ;;
        --binary | --memory)
            [ $# -ge 2 ] || die "$1 needs a value; see $0 --help"
            if [ "$1" = --binary ]; then new_binary=$(realpath -- "$2"); else memory=$2; fi
            shift
            ;;
        --no-tune) with_tune='' ;;
        --io-uring-group) io_uring_group=1 ;;
        --no-start) start='' ;;
        --purge) purge=1 ;;
        --force) force=1 ;;
        -h | --help) usage && exit 0 ;;
        *) die "Unknown option $1." "$0 --help lists them." ;;
    esac
    shift
done
[ -z "$purge" ] || [ "$action" = uninstall ] || die "--purge goes with --uninstall."
[[ -z "$memory" || "$memory" =~ ^[0-9]+(\.[0-9]+)?(%|[kKMG]i?B)?$ ]] || die "--memory $memory is no size." "Sizes: 4GB, 1400MB, 1.5GiB, 70%."
[ "$action" = dry-run ] || [ "$(id -u)" = 0 ] || die "install.sh changes the system: it needs root." "sudo $0"

# A line that a full disk cut off stands for something that was not begun.
if [ "$action" != dry-run ] && [ -s "$manifest" ] && [ -n "$(tail -c1 "$manifest")" ]; then sed -i '$d' "$manifest"; fi

case $action in
    install | dry-run) install_all ;;
    check) check_all ;;
    uninstall) uninstall_all ;;
esac
