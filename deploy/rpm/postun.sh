# shellcheck shell=sh
# The user stays, as is the custom where rpm is; so does an edited configuration, as kv-cache.toml.rpmsave.
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null 2>&1 || :
fi
# cargo-generate-rpm cannot list folders, so nobody owns these; files of the operator's own keep theirs.
if [ "$1" = 0 ]; then
    rm -f /etc/sysctl.d/91-kv-cache-io-uring.conf
    for folder in /etc/kv-cache /usr/lib/kv-cache /usr/lib/systemd/system/kv-cache.service.d /usr/share/doc/kv-cache /usr/share/licenses/kv-cache; do
        rmdir "$folder" 2>/dev/null || :
    done
fi
exit 0
