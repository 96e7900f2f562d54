"""pymemcache: memcached's text protocol, with and without noreply, and its pool and hash clients."""

import threading

import pymemcache
from harness import ADDRESS, Client, equal, finish, raises
from pymemcache.client.base import PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError

client = Client("pymemcache", pymemcache.__version__, "memcached text")
cache = pymemcache.Client(ADDRESS, connect_timeout=5, timeout=10)


@client.step("flush_all")
def flush():
    cache.set("gone", "1", noreply=False)
    assert cache.flush_all(noreply=False)
    equal(cache.get("gone"), None)


@client.step("get, set")
def get_set():
    assert cache.set("user:1", "Ada", expire=60, noreply=False)
    equal(cache.get("user:1"), b"Ada")
    equal(cache.get("none"), None)
    cache.set("empty", b"")
    equal(cache.get("empty"), b"")


@client.step("binary values, 1 MB")
def large():
    # A little below memcached's own limit.
    value = bytes(range(256)) * 4000
    assert cache.set("large", value, noreply=False)
    equal(cache.get("large"), value)


@client.step("multiget")
def multiget():
    equal(cache.set_many({f"m:{i}": str(i) for i in range(100)}, noreply=False), [])
    equal(cache.get_many([f"m:{i}" for i in range(0, 110, 5)]), {f"m:{i}": str(i).encode() for i in range(0, 100, 5)})


@client.step("noreply")
def noreply():
    # Each waits for no answer; the get behind them does.
    for i in range(100):
        cache.set("quiet", str(i), noreply=True)
    cache.add("quiet", "not this", noreply=True)
    cache.append("quiet", "!", noreply=True)
    cache.prepend("quiet", "?", noreply=True)
    cache.delete("m:1", noreply=True)
    equal(cache.get_many(["quiet", "m:1", "m:2"]), {"quiet": b"?99!", "m:2": b"2"})


@client.step("add, replace")
def add_replace():
    cache.delete("fresh", noreply=False)
    equal([cache.replace("fresh", "0", noreply=False), cache.add("fresh", "1", noreply=False)], [False, True])
    equal([cache.add("fresh", "2", noreply=False), cache.replace("fresh", "3", noreply=False)], [False, True])
    equal(cache.get("fresh"), b"3")


@client.step("append, prepend")
def append():
    equal([cache.append("fresh", "4", noreply=False), cache.prepend("fresh", "2", noreply=False)], [True, True])
    equal(cache.append("none", "4", noreply=False), False)
    equal(cache.get("fresh"), b"234")


@client.step("gets, cas")
def cas():
    value, token = cache.gets("fresh")
    equal(value, b"234")
    equal([cache.cas("fresh", "new", token), cache.cas("fresh", "newer", token), cache.cas("none", "x", token)], [True, False, None])
    equal(set(cache.gets_many(["fresh", "none"])), {"fresh"})


@client.step("incr, decr")
def counters():
    cache.set("n", "10", noreply=False)
    equal([cache.incr("n", 5), cache.decr("n", 1), cache.decr("n", 100), cache.incr("none", 1)], [15, 14, 0, None])
    cache.set("n", str(2**64 - 1), noreply=False)
    equal(cache.incr("n", 1), 0)
    assert "non-numeric" in str(raises(MemcacheClientError, lambda: cache.incr("fresh", 1)))


@client.step("touch")
def touch():
    equal([cache.touch("fresh", 600, noreply=False), cache.touch("none", 600, noreply=False)], [True, False])
    cache.touch("fresh", -1, noreply=False)
    equal(cache.get("fresh"), None)


@client.step("delete")
def delete():
    equal([cache.delete("n", noreply=False), cache.delete("n", noreply=False)], [True, False])


@client.step("stats, version")
def stats():
    numbers = cache.stats()
    assert numbers[b"cmd_get"] > 0 and numbers[b"curr_items"] > 0 and b"pid" in numbers, numbers
    assert cache.version()
    assert b"maxconns" in cache.stats("settings")


@client.step("keys of up to 250 bytes")
def keys():
    assert cache.set("k" * 250, "long", noreply=False)
    equal(cache.get("k" * 250), b"long")
    raises(MemcacheClientError, lambda: cache.raw_command("get " + "k" * 251))
    equal(cache.get("k" * 250), b"long")


@client.step("many connections")
def pool():
    pooled = PooledClient(ADDRESS, max_pool_size=16, timeout=10, default_noreply=False)

    def work(name: int) -> None:
        for i in range(50):
            pooled.set(f"pool:{name}:{i}", str(i))
            equal(pooled.get(f"pool:{name}:{i}"), str(i).encode())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(len(pooled.get_many([f"pool:{name}:49" for name in range(16)])), 16)
    hashed = HashClient([ADDRESS], use_pooling=True, default_noreply=False)
    hashed.set("hashed", "1")
    equal(hashed.get("hashed"), b"1")


finish()
