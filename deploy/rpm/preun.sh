# shellcheck shell=sh
# $1 is the number of versions that stay: none at a removal, which stops the service; at an upgrade it runs on.
if [ "$1" = 0 ]; then
    systemctl --no-reload disable kv-cache.socket kv-cache.service kv-cache-tune.service >/dev/null 2>&1 || :
    if [ -d /run/systemd/system ]; then
        systemctl stop kv-cache.socket kv-cache.service kv-cache-tune.service >/dev/null 2>&1 || :
    fi
fi
exit 0
