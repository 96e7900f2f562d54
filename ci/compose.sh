#!/usr/bin/env bash
# Checks compose.yaml and all that it starts beside the cache: ci/compose.sh [SERVER-BINARY [URING-BENCH-BINARY]]
#
# With the real Compose, the real promtool and a real Prometheus, from Debian's packages in a root of their own: nothing is installed here. Prometheus watches
# a server under load in every protocol; ci/dashboard.py then asks it all that the dashboard and the alerts ask. Grafana and
# Locust's image are in no Debian package: of these only the form is checked. Needs root, for debootstrap and chroot.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "ci/compose.sh: needs root" >&2; exit 2; }

ci/setup.sh
# shellcheck source=ci/lib.sh
. ci/lib.sh

if [ $# -lt 2 ]; then cargo build --quiet --workspace --bins; fi
server=$(realpath "${1:-target/debug/kv-server}")
bench=$(realpath "${2:-target/debug/uring-bench}")

work=$(mktemp -d)
trap 'end_all; wait 2>/dev/null || true; rm -rf "$work"' EXIT
root=$work/root
ci/rootfs.sh trixie "$root" docker-compose,prometheus
mkdir -p "$root/project" "$root/data"
cp -r compose.yaml Dockerfile sdk deploy ci "$root/project"
inside() { chroot "$root" "$@"; }

# Compose reads it and finds nothing to object to; what it makes of it is as tight as the comments in it say.
inside docker-compose --project-directory /project config --format json >"$work/compose.json"
jq --raw-output '
    def wrong(text): if . then empty else text end;
    (.services.cache.security_opt | any(test("^seccomp[=:].*deploy/seccomp.json$")) | wrong("the cache has no seccomp profile of ours")),
    (.services.cache | .read_only and .cap_drop == ["ALL"] | wrong("the cache may do more than it must")),
    (.services.cache.ulimits.memlock as $m | $m == -1 or $m.soft == -1 | wrong("the cache may not lock memory")),
    (.services[].ports[]? | .host_ip == "127.0.0.1" and .target != 7172 | wrong("a port is published too widely")),
    ([.services[].ports[]?] | length == 4 | wrong("there are not four published ports")),
    ((.services | keys) == ["cache", "grafana", "locust", "locust-worker", "prometheus"] | wrong("services are missing"))
' "$work/compose.json" >"$work/wrong"
jq --raw-output '.services[].volumes[]? | select(.type == "bind") | .source' "$work/compose.json" | while read -r source; do
    [ -e "$root$source" ] || echo "compose.yaml mounts $source, which does not exist" >>"$work/wrong"
done
if [ -s "$work/wrong" ]; then cat "$work/wrong" >&2; exit 1; fi

# The package of the client library that the image installs is the one that is tested here.
for package in redis locust; do
    version=$(sed -n "s/^$package==//p" ci/requirements.txt)
    grep -Eq "$package(==|:)$version\$" sdk/locust.Dockerfile || { echo "sdk/locust.Dockerfile has another $package than $version" >&2; exit 1; }
done

if ! { inside promtool check config /project/deploy/prometheus.yml && inside promtool test rules /project/ci/alerts-test.yml; } >"$work/promtool" 2>&1; then
    cat "$work/promtool" >&2
    exit 1
fi

# The cache with the environment that it has in compose.yaml, watched by the Prometheus of prometheus.yml but for its address and pace.
port=$(free_port) admin=$(free_port) page=$(free_port)
mapfile -t environment < <(jq --raw-output '.services.cache.environment | to_entries[] | "\(.key)=\(.value)"' "$work/compose.json")
start "$work/server.log" "$port" env "${environment[@]}" "$server" --port "$port" --admin-port "$admin" --threads 2 --no-pin
sed -e "s/cache:7172/127.0.0.1:$admin/" -e 's/scrape_interval: .*/scrape_interval: 1s/' -e 's/evaluation_interval: .*/evaluation_interval: 2s/' \
    deploy/prometheus.yml >"$root/project/deploy/watch.yml"
chroot "$root" prometheus --config.file /project/deploy/watch.yml --storage.tsdb.path /data --web.listen-address "127.0.0.1:$page" \
    --log.level warn >"$work/prometheus.log" 2>&1 &
started+=("$!")

for protocol in resp memcached http protobuf json; do
    "$bench" run --target "127.0.0.1:$port" --protocol "$protocol" --rate 200 --connections 2 --keys 1000 --preload --duration 25s \
        >"$work/load-$protocol" 2>&1 || { cat "$work/load-$protocol" >&2; touch "$work/failed"; } &
    loads+=("$!")
done
sleep 20
if ! python3 ci/dashboard.py "http://127.0.0.1:$page" "http://127.0.0.1:$admin/metrics"; then
    cat "$work/prometheus.log" >&2
    exit 1
fi
wait "${loads[@]}"
[ ! -e "$work/failed" ]

# Locust's master and one worker, with the files where the image has them and the commands of compose.yaml.
grep '^COPY ' sdk/locust.Dockerfile | while read -r _ source place; do
    mkdir -p "$work/image$place"
    cp "sdk/$source" "$work/image$place"
done
locust() {
    local service=$1 words
    shift
    mapfile -t words < <(jq --raw-output ".services[\"$service\"].command[]" "$work/compose.json" | sed -e "s/^cache:7171$/127.0.0.1:$port/" -e 's/^locust$/127.0.0.1/')
    LOCUST_LOCUSTFILE="$work/image$(sed -n 's/^ENV LOCUST_LOCUSTFILE=//p' sdk/locust.Dockerfile)" timeout 60 .ci/cache/venv/bin/locust "${words[@]}" "$@"
}
locust locust-worker >"$work/worker.log" 2>&1 &
if ! locust locust --headless --expect-workers 1 --users 6 --spawn-rate 6 --run-time 3s --exit-code-on-error 1 --only-summary >"$work/master.log" 2>&1; then
    cat "$work/master.log" "$work/worker.log" >&2
    exit 1
fi
# By protocol: none may be without requests.
for protocol in RESP HTTP 'JSON lines'; do
    grep -Eq "^$protocol +GET +[1-9]" "$work/master.log" || { cat "$work/master.log" >&2; exit 1; }
done
echo "compose: all passed (${SECONDS}s)"
