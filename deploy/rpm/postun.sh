# The user stays, as is the custom where rpm is; so does an edited configuration, as kv-cache.toml.rpmsave.
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null 2>&1 || :
fi
exit 0
