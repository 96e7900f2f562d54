# shellcheck shell=sh
# Enabled if the distribution's presets say so, and started by nobody but the operator, as is the custom where rpm is.
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null 2>&1 || :
    /usr/lib/kv-cache/apply-settings || :
fi
if [ "$1" = 1 ]; then
    systemctl --no-reload preset kv-cache-tune.service kv-cache.service >/dev/null 2>&1 || :
    echo "Start kv-cache, now and at every boot: systemctl enable --now kv-cache-tune kv-cache"
elif [ -d /run/systemd/system ] && systemctl --quiet is-active kv-cache.service; then
    echo "kv-cache still runs as the version before; restart it when it may lose what it holds: systemctl restart kv-cache"
fi
exit 0
