"""python-binary-memcached: the binary protocol, with quiet sets and gets ended by NOOP."""

from importlib.metadata import version

import bmemcached
from harness import ADDRESS, Client, equal, finish

client = Client("python-binary-memcached", version("python-binary-memcached"), "memcached binary")
cache = bmemcached.Client((ADDRESS,), socket_timeout=10)


@client.step("flush_all")
def flush():
    cache.set("gone", "1")
    assert cache.flush_all()
    equal(cache.get("gone"), None)


@client.step("get, set")
def get_set():
    values = {"text": "wörld", "number": 7, "bytes": b"\x00\r\n\xff", "object": {"a": [1, 2]}}
    for key, value in values.items():
        assert cache.set(key, value, time=60)
    equal({key: cache.get(key) for key in values}, values)
    equal(cache.get("none"), None)


@client.step("binary values, 1 MB")
def large():
    value = bytes(range(256)) * 4000
    assert cache.set("large", value, compress_level=0)
    equal(cache.get("large"), value)


@client.step("multiget")
def multiget():
    equal(cache.set_multi({f"m:{i}": i for i in range(100)}, time=60), [])
    equal(cache.get_multi([f"m:{i}" for i in range(110)]), {f"m:{i}": i for i in range(100)})
    equal(len(cache.get_multi(["m:1", "none", "m:2"], get_cas=True)), 2)
    assert cache.delete_multi([f"m:{i}" for i in range(100)])


@client.step("add, replace")
def add_replace():
    equal([cache.replace("fresh", "0"), cache.add("fresh", "1"), cache.add("fresh", "2"), cache.replace("fresh", "3")], [False, True, False, True])


@client.step("gets, cas")
def cas():
    value, token = cache.gets("fresh")
    equal(value, "3")
    equal([cache.cas("fresh", "new", token), cache.cas("fresh", "newer", token)], [True, False])


@client.step("incr, decr")
def counters():
    equal([cache.incr("n", 5, default=10), cache.incr("n", 5), cache.decr("n", 1), cache.decr("n", 100)], [10, 15, 14, 0])


@client.step("delete")
def delete():
    assert cache.delete("fresh") and cache.delete("fresh")
    equal(cache.get("fresh"), None)


@client.step("stats, version")
def stats():
    [numbers] = cache.stats().values()
    assert int(numbers["cmd_get" if "cmd_get" in numbers else b"cmd_get"]) > 0, numbers


cache.disconnect_all()
finish()
