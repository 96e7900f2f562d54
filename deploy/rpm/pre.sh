# shellcheck shell=sh
# Before the files: their group must be there. $1 is the number of versions that will be installed.
if [ -f /var/lib/kv-cache/install-backup/manifest ]; then
    echo "kv-cache was installed here by install.sh. Remove that first, the configuration stays:" >&2
    echo "  sudo /var/lib/kv-cache/install.sh --uninstall" >&2
    exit 1
fi
getent group kv-cache >/dev/null || groupadd --system kv-cache
getent passwd kv-cache >/dev/null ||
    useradd --system --gid kv-cache --no-create-home --home-dir /nonexistent --shell /sbin/nologin --comment KV-Cache kv-cache
exit 0
