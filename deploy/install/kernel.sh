# The kernel's settings: reading a sysctl file, what later files say, setting and reading back (sysctl.d(5)).
# shellcheck shell=bash

# settings FILE: its lines as `optional|needed key value`. systemd takes keys with slashes as well (sysctl.d(5)).
settings() {
    sed -nE 's/^[[:space:]]*(-?)[[:space:]]*([^#;=[:space:]][^=[:space:]]*)[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*$/\1 \2 \3/p' "$1" |
        awk '{ kind = "needed"; i = 1; if ($1 == "-") { kind = "optional"; i = 2 }
               key = $i; slash = index(key, "/"); dot = index(key, ".")
               if (slash && (!dot || slash < dot)) { gsub(/\./, "%", key); gsub(/\//, ".", key); gsub(/%/, "/", key) }
               printf "%s %s", kind, key
               for (i++; i <= NF; i++) printf " %s", $i
               print "" }'
}

# read_later NAME: fills `later`, which file that is read after NAME sets a key; what it says is what the machine gets.
declare -A later=()
read_later() {
    local path kind key value
    later=()
    for path in {/etc,/run,/usr/local/lib,/usr/lib}/sysctl.d/*.conf; do
        if [ ! -r "$path" ] || [[ ! "${path##*/}" > "${1##*/}" ]]; then continue; fi
        while read -r kind key value; do later[$key]=$path; done < <(settings "$path")
    done
}

key_file() { echo "/proc/sys/${1//.//}"; }

# current KEY: as one line with single spaces; nothing where there is no such key.
current() {
    local file words=()
    file=$(key_file "$1")
    [ ! -r "$file" ] || read -ra words <"$file"
    echo "${words[*]}"
}

# apply FILE NAME: sets in the running kernel what the file sets, which is installed as NAME, and reads it back.
apply() {
    local kind key value now error
    read_later "$2"
    while read -r kind key value; do
        now=$(current "$key")
        if [ "$key" = kernel.io_uring_disabled ] && [ -f "$scratch/io-uring.conf" ] && [ "$2" != "$io_uring_file" ]; then
            continue
        elif [ -n "${later[$key]:-}" ]; then
            say skipped "$key: left to ${later[$key]}, which is read later"
        elif [ -z "$now" ]; then
            say skipped "$key: this kernel, or container, has no such setting"
            [ "$kind" = optional ] || untaken+=("$key: not there")
        elif [ "$now" = "$value" ]; then
            [ "$action" != install ] || has sysctl "$key" || record sysctl "$key" "$now" "$value"
        elif [ "$action" = dry-run ]; then
            changed "$key: $now -> $value"
        else
            # The first old value is the one to restore.
            has sysctl "$key" && now=$(field sysctl "$key" 3)
            error=$({ printf '%s\n' "$value" >"$(key_file "$key")"; } 2>&1) || true
            if [ "$(current "$key")" = "$value" ]; then
                record sysctl "$key" "$now" "$value"
                changed "$key: $now -> $value"
            else
                say "did not" "take: $key is $(current "$key"), not $value: ${error##*: }"
                untaken+=("$key is $(current "$key"), not $value")
            fi
        fi
    done < <(settings "$1")
}

# Where the machine allows io_uring only to some, our file's 0 would allow it to all. So: to our group only.
io_uring_setting() {
    local now group ours
    now=$(in_chroot || current kernel.io_uring_disabled)
    if [ -z "$io_uring_group" ] && ! has content "$io_uring_file"; then
        [ -n "$now" ] && [ "$now" != 0 ] || return 0
        read_later "$io_uring_file"
        [ -z "${later[kernel.io_uring_disabled]:-}" ] || return 0
        say '' "kernel.io_uring_disabled is $now here: io_uring is allowed to the group $name only"
    fi
    group=$(current kernel.io_uring_group)
    # In a dry run there may be no such group yet.
    ours=$({ getent group "$name" || true; } | cut -d: -f3)
    {
        echo "# io_uring for one group only; see 90-kv-cache.conf, which this file comes after."
        if [ -n "$group" ] && [ "$group" -ge 0 ] && [ "$group" != "${ours:-$group}" ]; then
            echo "# kernel.io_uring_group was $group already when KV-Cache was installed."
        else
            echo "-kernel.io_uring_group = ${ours:-0}"
            group=
        fi
        echo "-kernel.io_uring_disabled = 1"
    } >"$scratch/io-uring.conf"
    put "$scratch/io-uring.conf" "$io_uring_file" 0644
    [ -z "$group" ] || say warning "kernel.io_uring_group is $group, not ours: usermod -aG $group $name lets the server use io_uring"
}

step_kernel() {
    put "$here/deploy/modules-load.conf" /etc/modules-load.d/kv-cache.conf 0644
    put "$here/sysctl/90-kv-cache.conf" "$sysctl_file" 0644
    io_uring_setting
    if in_chroot; then
        say skipped "setting them now: they take effect at the next boot"
        return
    fi
    if [ "$action" = install ]; then modprobe -qa tcp_bbr sch_fq 2>/dev/null || true; fi
    apply "$here/sysctl/90-kv-cache.conf" "$sysctl_file"
    [ ! -f "$scratch/io-uring.conf" ] || apply "$scratch/io-uring.conf" "$io_uring_file"
}
