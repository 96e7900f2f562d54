"""pylibmc (libmemcached in C), over the text and over the binary protocol; multiget in binary is quiet gets and a NOOP."""

import pylibmc
from harness import ADDRESS, Client, equal, finish, raises


def done(action, *args) -> bool:
    """Its answer; in binary it raises for what is not there."""
    try:
        return action(*args)
    except (pylibmc.NotFound, pylibmc.Error) as error:
        assert isinstance(error, (pylibmc.NotFound, pylibmc.DataExists)), error
        return False


def application(client: Client, binary: bool) -> None:
    cache = pylibmc.Client([ADDRESS], binary=binary, behaviors={"cas": True, "tcp_nodelay": True, "receive_timeout": 10_000_000})

    @client.step("flush_all")
    def flush():
        cache.set("gone", 1)
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
        assert cache.set("large", value)
        equal(cache.get("large"), value)

    @client.step("multiget")
    def multiget():
        equal(cache.set_multi({f"m:{i}": i for i in range(100)}, time=60), [])
        equal(cache.get_multi([f"m:{i}" for i in range(110)]), {f"m:{i}": i for i in range(100)})
        equal(cache.get_multi(["none", "not this"]), {})
        cache.delete_multi([f"m:{i}" for i in range(100)])
        equal(cache.get("m:7"), None)

    @client.step("add, replace")
    def add_replace():
        assert not done(cache.replace, "fresh", "0") and done(cache.add, "fresh", "1")
        assert not done(cache.add, "fresh", "2") and done(cache.replace, "fresh", "3")

    @client.step("append, prepend")
    def append():
        assert cache.append("fresh", "4") and cache.prepend("fresh", "2")
        equal(cache.get("fresh"), "234")

    @client.step("gets, cas")
    def cas():
        value, token = cache.gets("fresh")
        equal(value, "234")
        assert cache.cas("fresh", "new", token) and not cache.cas("fresh", "newer", token)

    @client.step("incr, decr")
    def counters():
        cache.set("n", 10)
        equal([cache.incr("n", 5), cache.decr("n", 1), cache.decr("n", 100)], [15, 14, 0])
        raises(pylibmc.NotFound, lambda: cache.incr("none"))

    @client.step("touch")
    def touch():
        assert done(cache.touch, "fresh", 600) and not done(cache.touch, "none", 600)

    @client.step("delete")
    def delete():
        assert done(cache.delete, "fresh") and not done(cache.delete, "fresh")

    @client.step("stats, version")
    def stats():
        [(_, numbers)] = cache.get_stats()
        assert int(numbers["cmd_get"]) > 0, numbers

    cache.disconnect_all()

    @client.step("noreply")
    def noreply():
        quiet = pylibmc.Client([ADDRESS], binary=binary, behaviors={"_noreply": True, "tcp_nodelay": True})
        for i in range(100):
            quiet.set("quiet", str(i))
        quiet.append("quiet", "!")
        quiet.disconnect_all()
        # Another connection: what was sent before may still be on its way.
        for _ in range(1_000):
            if cache.get("quiet") == "99!":
                break
        equal(cache.get("quiet"), "99!")


application(Client("pylibmc", pylibmc.__version__, "memcached text"), binary=False)
application(Client("pylibmc", pylibmc.__version__, "memcached binary"), binary=True)
finish()
