"""meta-memcache: memcached's meta commands, with leases and stale values, which the plain text commands do not have."""

from importlib.metadata import version

from harness import PORT, Client, equal, finish
from meta_memcache import CacheClient, LeasePolicy, RecachePolicy, ServerAddress, SetMode, StalePolicy, connection_pool_factory_builder

client = Client("meta-memcache", version("meta-memcache"), "memcached meta")
pools = connection_pool_factory_builder(connection_timeout=5, recv_timeout=10)
cache = CacheClient.cache_client_from_servers([ServerAddress("127.0.0.1", PORT)], pools)
KEYS = ["lease", "fresh", "n", "none", "stale", "recache", "touched", "cas", "text"]


@client.step("mg, ms, md")
def get_set():
    for key in KEYS:
        cache.invalidate(key)
    assert cache.set("text", "wörld", ttl=60)
    assert cache.set("object", {"a": [1, 2]}, ttl=60)
    equal((cache.get("text"), cache.get("object"), cache.get("none")), ("wörld", {"a": [1, 2]}, None))
    assert cache.delete("text") and not cache.delete("text")


@client.step("values of 1 MB")
def large():
    value = bytes(range(256)) * 4000
    assert cache.set("large", value, ttl=60)
    equal(cache.get("large"), value)


@client.step("binary keys (b)")
def binary_keys():
    # What is not ASCII travels in base64.
    assert cache.set("schlüssel mit leerzeichen", "x", ttl=60)
    equal(cache.get("schlüssel mit leerzeichen"), "x")


@client.step("ms modes E A P R")
def modes():
    assert not cache.set("fresh", "0", ttl=60, set_mode=SetMode.REPLACE)
    assert cache.set("fresh", "1", ttl=60, set_mode=SetMode.ADD) and not cache.set("fresh", "2", ttl=60, set_mode=SetMode.ADD)
    assert cache.set("fresh", "3", ttl=60, set_mode=SetMode.REPLACE)
    assert cache.set("fresh", "4", ttl=60, set_mode=SetMode.APPEND) and cache.set("fresh", "2", ttl=60, set_mode=SetMode.PREPEND)
    equal(cache.get("fresh"), "234")


@client.step("multiget")
def multiget():
    for i in range(100):
        assert cache.set(f"m:{i}", f"v{i}", ttl=60)
    got = cache.multi_get([f"m:{i}" for i in range(110)])
    equal({key.key: value for key, value in got.items() if value is not None}, {f"m:{i}": f"v{i}" for i in range(100)})


@client.step("quiet (q) and mn")
def quiet():
    for i in range(100):
        cache.set("quiet", f"q{i}", ttl=60, no_reply=True)
    cache.delete("m:1", no_reply=True)
    equal((cache.get("quiet"), cache.get("m:1"), cache.get("m:2")), ("q99", None, "v2"))


@client.step("compare and set (c, C)")
def cas():
    token = cache.set_cas("cas", "first", ttl=60)
    value, seen = cache.get_cas("cas")
    equal((value, seen), ("first", token))
    assert cache.set("cas", "second", ttl=60, cas_token=token) and not cache.set("cas", "third", ttl=60, cas_token=token)
    equal(cache.get("cas"), "second")
    assert not cache.delete("cas", cas_token=token)


@client.step("counters (ma N J D T)")
def counters():
    equal(cache.delta_and_get("n", 5), None)
    equal(cache.delta_initialize_and_get("n", 5, initial_value=10, initial_ttl=60), 10)
    equal([cache.delta_and_get("n", 5), cache.delta_and_get("n", -1, refresh_ttl=60), cache.delta_and_get("n", -100)], [15, 14, 0])


@client.step("touch (T)")
def touch():
    cache.set("touched", "x", ttl=60)
    assert cache.touch("touched", 600) and not cache.touch("none", 600)
    equal(cache.get("touched", touch_ttl=600), "x")


@client.step("leases (N)")
def leases():
    policy = LeasePolicy(ttl=30, miss_retries=2, miss_retry_wait=0.01)
    value, token = cache.get_or_lease_cas("lease", policy)
    assert value is None and token
    # Who comes second waits, and gets nothing while the first is at work.
    waits = []
    equal(cache.get_or_lease("lease", policy, lease_wait_fn=waits.append), None)
    assert waits
    assert cache.set("lease", "made", ttl=60, cas_token=token)
    equal(cache.get_or_lease("lease", policy), "made")


@client.step("stale values (I, W, X, Z)")
def stale():
    policy = StalePolicy(mark_stale_on_deletion_ttl=30, mark_stale_on_cas_mismatch=True)
    recache = RecachePolicy(ttl=5)
    cache.set("stale", "old", ttl=60)
    assert cache.delete("stale", stale_policy=policy)
    # One gets the task to make it anew, the others the old value.
    value, token = cache.get_cas("stale", recache_policy=recache)
    equal(value, None)
    equal(cache.get("stale", recache_policy=recache), "old")
    assert cache.set("stale", "new", ttl=60, cas_token=token)
    equal(cache.get("stale", recache_policy=recache), "new")


@client.step("early renewal (R)")
def renewal():
    cache.set("recache", "old", ttl=10)
    equal(cache.get("recache", recache_policy=RecachePolicy(ttl=5)), "old")
    equal(cache.get("recache", recache_policy=RecachePolicy(ttl=30)), None)
    equal(cache.get("recache", recache_policy=RecachePolicy(ttl=30)), "old")


finish()
