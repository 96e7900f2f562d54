"""python-memcached: memcached's text protocol with flags, a trailing space in its set, and gets for compare-and-set."""

import memcache
from harness import ADDRESS, Client, equal, finish

client = Client("python-memcached", memcache.__version__, "memcached text")
cache = memcache.Client([ADDRESS], socket_timeout=10, cache_cas=True)


@client.step("flush_all")
def flush():
    cache.flush_all()
    equal(cache.get("gone"), None)


@client.step("get, set")
def get_set():
    # Flags say of what type a value is.
    values = {"text": "wörld", "number": 7, "bytes": b"\x00\r\n\xff", "object": {"a": [1, 2]}}
    for key, value in values.items():
        assert cache.set(key, value, time=60)
    equal({key: cache.get(key) for key in values}, values)
    assert cache.set("packed", "x" * 10_000, min_compress_len=100)
    equal(cache.get("packed"), "x" * 10_000)


@client.step("multiget")
def multiget():
    equal(cache.set_multi({f"m:{i}": i for i in range(100)}, time=60), [])
    equal(cache.get_multi([f"m:{i}" for i in range(110)]), {f"m:{i}": i for i in range(100)})
    assert cache.delete_multi([f"m:{i}" for i in range(100)])


@client.step("add, replace")
def add_replace():
    assert not cache.replace("fresh", 0) and cache.add("fresh", 1) and not cache.add("fresh", 2) and cache.replace("fresh", "3")


@client.step("append, prepend")
def append():
    assert cache.append("fresh", "4") and cache.prepend("fresh", "2")
    equal(cache.get("fresh"), "234")


@client.step("gets, cas")
def cas():
    other = memcache.Client([ADDRESS], cache_cas=True)
    equal(cache.gets("fresh"), "234")
    assert cache.cas("fresh", "new")
    equal(cache.gets("fresh"), "new")
    other.set("fresh", "theirs")
    assert not cache.cas("fresh", "mine")
    equal(cache.get("fresh"), "theirs")


@client.step("incr, decr")
def counters():
    cache.set("n", "10")
    equal([cache.incr("n", 5), cache.decr("n"), cache.incr("none")], [15, 14, None])


@client.step("touch")
def touch():
    assert cache.touch("fresh", 600) and not cache.touch("none", 600)


@client.step("delete")
def delete():
    cache.delete("fresh")
    equal(cache.get("fresh"), None)


@client.step("stats, version")
def stats():
    [(_, numbers)] = cache.get_stats()
    assert int(numbers["cmd_get"]) > 0
    assert cache.get_stats("items")


finish()
