# install.sh --check and --uninstall: both go by what was recorded, so they need neither the release nor the sources.
# shellcheck shell=bash

is_config() { case $1 in /etc/kv-cache/*) ;; *) return 1 ;; esac }

check_files() {
    local path expected
    while read -r path; do
        expected=$(field content "$path" 3)
        if [ ! -e "$path" ] && [ ! -L "$path" ]; then
            drifted "$path is missing"
        elif [ -L "$path" ]; then
            [ "-> $(readlink "$path")" = "$expected" ] || drifted "$path points elsewhere"
        elif ! is_config "$path" && [ "$(sum "$path")" != "$expected" ]; then
            drifted "$path is not as installed"
        elif [ "$path" = "$config" ] && [ "$(owner_and_mode "$path")" != "root:$name 640" ]; then
            drifted "$path is $(owner_and_mode "$path"), not root:$name 640: it may hold a password"
        fi
    done < <(all content)
}

check_machine() {
    local key value now unit line
    getent passwd "$name" >/dev/null || drifted "the user $name is missing"
    while read -r key; do
        in_chroot && break
        value=$(field sysctl "$key" 4) now=$(current "$key")
        [ "$now" = "$value" ] || drifted "$key is ${now:-gone}, not $value"
    done < <(all sysctl)
    with_systemd || return 0
    for unit in kv-cache kv-cache-tune; do
        has content "$units/$unit.service" || continue
        [ "$(systemctl show -P NeedDaemonReload "$unit")" = no ] || drifted "systemd has not read $unit.service anew: systemctl daemon-reload"
    done
    ! has started kv-cache || systemctl --quiet is-active kv-cache || drifted "kv-cache does not run: systemctl status kv-cache"
    if has content "$tune" && [ -x "$tune" ] && systemctl --quiet is-active kv-cache-tune; then
        # The service knows its settings from this file.
        while read -r line; do drifted "$line"; done < <(
            set -a
            # shellcheck source=deploy/tune.env
            [ ! -r /etc/kv-cache/tune.env ] || . /etc/kv-cache/tune.env
            "$tune" --check 2>&1 | sed -n 's/^  DRIFT *//p'
        )
    fi
}

check_all() {
    [ -f "$manifest" ] || die "KV-Cache has not been installed here by install.sh." "sudo $0 installs it."
    check_files
    check_machine
    if [ "$drift" -gt 0 ]; then
        echo "$drift differences; to mend them, run install.sh of the version that is installed."
        exit 1
    fi
    echo "KV-Cache is as it was installed."
}

step_stop() {
    with_systemd || return 0
    local unit
    for unit in kv-cache.socket kv-cache.service kv-cache-tune.service; do
        if systemctl --quiet is-active "$unit"; then
            systemctl stop "$unit"
            say stopped "$unit"
        fi
    done
}

step_sysctls() {
    local key old value
    if in_chroot; then return; fi
    while read -r key; do
        old=$(field sysctl "$key" 3) value=$(field sysctl "$key" 4)
        [ "$old" != "$value" ] || continue
        if [ "$(current "$key")" != "$value" ]; then
            say skipped "$key: somebody has set it to $(current "$key") since"
        elif { printf '%s\n' "$old" >"$(key_file "$key")"; } 2>/dev/null; then
            say restored "$key: $old"
        else
            say "did not" "take: $key stays $value"
        fi
    done < <(all sysctl)
}

# put_back PATH: what was there before us, or nothing.
put_back() {
    local path=$1
    if is_config "$path" && [ -z "$purge" ] && [ -f "$path" ] && [ "$(sum "$path")" != "$(field content "$path" 3)" ]; then
        # Its group goes with us.
        chown root:root "$path"
        chmod 0600 "$path"
        say kept "$path: it has been edited; --purge removes it"
        return
    fi
    if [ -f "$path" ] && [ ! -L "$path" ] && ! is_config "$path" && [ "$(sum "$path")" != "$(field content "$path" 3)" ]; then
        mv "$path" "$path.kv-cache-saved"
        say kept "$path had been edited: it is now $path.kv-cache-saved, which nothing reads"
    fi
    rm -f "$path"
    if has saved "$path"; then
        cp -a "$backup/files$path" "$path"
        say restored "$path"
    else
        say removed "$path"
    fi
}

step_files() {
    local path
    while read -r path; do put_back "$path"; done < <({ all created && all saved; } | tac)
    if [ -n "$purge" ]; then
        rm -f /etc/kv-cache/kv-cache.toml{,.new} /etc/kv-cache/tune.env{,.new} /etc/kv-cache/kv-cache.env
        rmdir --ignore-fail-on-non-empty /etc/kv-cache 2>/dev/null || true
    fi
    while read -r path; do
        [ ! -d "$path" ] || rmdir --ignore-fail-on-non-empty "$path"
    done < <(all folder | tac)
    ! with_systemd || systemctl daemon-reload
}

step_remove_user() {
    if has user "$name" && getent passwd "$name" >/dev/null; then
        userdel "$name"
        say removed "user $name"
    fi
    # userdel takes the group along where the system is set so.
    if has group "$name" && getent group "$name" >/dev/null; then
        groupdel "$name"
        say removed "group $name"
    fi
}

step_forget() {
    rm -rf "$backup" "$home/deploy"
    rm -f "$home/install.sh"
    rmdir --ignore-fail-on-non-empty "$home"
    say removed "the backup"
}

uninstall_all() {
    if [ ! -f "$manifest" ]; then
        [ -n "$purge" ] || die "KV-Cache has not been installed here by install.sh; there is nothing to set back."
        ! packaged || die "KV-Cache is installed here as a package, and so is its configuration." "Remove it by apt purge kv-cache, or dnf remove kv-cache."
        step step_files "files"
    else
        # First the default queueing, then the cards, which get it when kv-cache-tune stops.
        step step_sysctls "kernel settings"
        step step_stop "stop"
        step step_files "files"
        step step_remove_user "user and group"
        step step_forget "backup"
    fi
    echo "KV-Cache: uninstalling"
    run_steps
    echo
    echo "KV-Cache is uninstalled."
}
