# What install.sh and its other parts stand on: what is printed, what is recorded, how a file is put where it belongs.
# shellcheck shell=bash

changes=0    # things changed, or that would be
drift=0      # things that --check found
untaken=()   # what was set and did not take
steps=() titles=() at=-1 quiet=1
failed_command='' scratch='' temporary=''

say() {
    printf '  %-8s %s\n' "$1" "$2"
    quiet=''
}
changed() {
    changes=$((changes + 1))
    if [ "$action" = dry-run ]; then say would "$1"; else say changed "$1"; fi
}
drifted() {
    drift=$((drift + 1))
    say DRIFT "$1"
}
# die WHAT [WHAT-TO-DO]
die() {
    failed_command=
    printf '\n%s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
    exit 1
}

# On the way out of anything that did not finish: what is done, what is not, what to do.
finish() {
    local status=$? i done_steps='' open=''
    [ -z "$temporary" ] || rm -f "$temporary"
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ "$status" != 0 ] && [ "$at" -ge 0 ] && [ "$at" -lt ${#steps[@]} ] || return 0
    {
        echo
        echo "install.sh stopped in step $((at + 1)) of ${#steps[@]}, ${titles[at]}."
        [ -z "$failed_command" ] || echo "  failed:    $failed_command"
        for ((i = 0; i < at; i++)); do done_steps+="${done_steps:+, }${titles[i]}"; done
        for ((i = at + 1; i < ${#steps[@]}; i++)); do open+="${open:+, }${titles[i]}"; done
        echo "  done:      ${done_steps:-nothing}"
        echo "  begun:     ${titles[at]}"
        echo "  not done:  ${open:-nothing}"
        case $action in
            install)
                echo "Mend the cause, then run the same command again: it goes on from here."
                [ ! -f "$manifest" ] || echo "Or set everything back: sudo $0 --uninstall"
                ;;
            uninstall) echo "Mend the cause, then run the same command again; the backup is still in $backup." ;;
            *) echo "Nothing was changed." ;;
        esac
    } >&2
}
trap finish EXIT
trap 'failed_command=$BASH_COMMAND' ERR
trap 'failed_command=interrupted; exit 130' INT TERM HUP

# run_steps: each of `steps` in turn. A step that has nothing to say is as it should be.
run_steps() {
    for at in "${!steps[@]}"; do
        quiet=1
        "${steps[at]}"
        [ -z "$quiet" ] || say ok "${titles[at]}"
    done
    at=${#steps[@]}
}
step() {
    steps+=("$1")
    titles+=("$2")
}

# has KIND WHAT
has() { [ -f "$manifest" ] && awk -F'\t' -v kind="$1" -v what="$2" '$1 == kind && $2 == what { found = 1 } END { exit !found }' "$manifest"; }
# field KIND WHAT NUMBER: the last line's.
field() {
    [ ! -f "$manifest" ] || awk -F'\t' -v kind="$1" -v what="$2" -v n="$3" '$1 == kind && $2 == what { value = $n } END { print value }' "$manifest"
}
# all KIND: what, in the order in which it was done, each once.
all() { [ ! -f "$manifest" ] || awk -F'\t' -v kind="$1" '$1 == kind && !seen[$2]++ { print $2 }' "$manifest"; }
record() {
    [ -d "$backup" ] || install -d -m 0700 "$backup"
    local IFS=$'\t'
    printf '%s\n' "$*" >>"$manifest"
}

sum() { { sha256sum "$1" 2>/dev/null || true; } | cut -d' ' -f1; }
owner_and_mode() { stat -c '%U:%G %a' "$1"; }

# folder PATH: makes it and what is missing above, and notes what to remove again.
folder() {
    [ ! -d "$1" ] || return 0
    folder "$(dirname "$1")"
    case $1 in "$home"*) ;; *) record folder "$1" ;; esac
    mkdir -m 0755 "$1"
}

# keep_old PATH: before it is touched the first time.
keep_old() {
    if has created "$1" || has saved "$1"; then return 0; fi
    if [ -e "$1" ] || [ -L "$1" ]; then
        install -d -m 0700 "$backup/files$(dirname "$1")"
        cp -a "$1" "$backup/files$1"
        record saved "$1"
    else
        record created "$1"
    fi
}

# put SOURCE PATH MODE [OWNER:GROUP]: a file of ours, whole or not at all.
put() {
    local source=$1 path=$2 mode=$3 owner=${4:-root:root}
    if [ ! -f "$path" ] || [ -L "$path" ]; then
        changed "$path: new, $owner $mode"
    elif [ "$(sum "$source")" != "$(sum "$path")" ]; then
        changed "$path: other content, $owner $mode"
        # Whoever looks before they leap wants to see which lines.
        if [ "$action" = dry-run ] && [ -r "$path" ] && grep -Iq . "$source"; then diff -u "$path" "$source" | sed 's/^/           /' || true; fi
    elif [ "$(owner_and_mode "$path")" != "$owner ${mode#0}" ]; then
        changed "$path: $owner $mode"
    elif has content "$path"; then
        return 0
    fi
    [ "$action" = install ] || return 0
    case $path in "$home"/*) ;; *) keep_old "$path" ;; esac
    folder "$(dirname "$path")"
    temporary=$path.kv-cache-new
    install -m "$mode" -o "${owner%:*}" -g "${owner#*:}" "$source" "$temporary"
    record content "$path" "$(sum "$source")"
    mv -f "$temporary" "$path"
    temporary=
    if command -v restorecon >/dev/null; then restorecon "$path" 2>/dev/null || true; fi
    case $path in
        "$tune" | "$units"/kv-cache-tune.service) tune_restart_needed=1 ;;
        "$binary" | "$units"/kv-cache.service* | "$config") restart_needed=1 ;;
    esac
}

# link TARGET PATH: as `systemctl enable` makes them, so that it works where systemctl does not.
link() {
    [ "$(readlink "$2" || true)" != "$1" ] || return 0
    changed "$2"
    [ "$action" = install ] || return 0
    keep_old "$2"
    folder "$(dirname "$2")"
    ln -sfn "$1" "$2"
    record content "$2" "-> $1"
}

# A chroot shares its kernel with another system, whose settings are none of ours.
in_chroot() {
    [ "$(id -u)" = 0 ] || return 1
    [ "$(stat -Lc %d:%i /proc/1/root/. 2>/dev/null)" != "$(stat -Lc %d:%i /)" ]
}
packaged() { [ -e /usr/lib/systemd/system/kv-cache.service ] || [ -e /lib/systemd/system/kv-cache.service ]; }
with_systemd() { [ -d /run/systemd/system ] && ! in_chroot; }
