"""redis-py as applications use it, with its defaults (RESP3) and with RESP2: caching, locks, pipelines without MULTI, scans."""

import sys

import redis

PORT = int(sys.argv[1])


def application(cache: redis.Redis) -> None:
    cache.flushdb()
    assert cache.ping() is True
    assert cache.set("user:1", "Ada", ex=60) is True
    assert cache.get("user:1") == b"Ada"
    assert 55 <= cache.ttl("user:1") <= 60
    assert cache.get("none") is None
    binary = bytes(range(256)) * 100
    cache.set(b"binary\x00\r\n", binary)
    assert cache.get(b"binary\x00\r\n") == binary

    # A lock as most libraries make one.
    assert cache.set("lock", "me", nx=True, px=30_000) is True
    assert cache.set("lock", "you", nx=True, px=30_000) is None
    assert cache.set("lock", "me again", xx=True, get=True) == b"me"

    assert cache.incr("n") == 1 and cache.incrby("n", 9) == 10 and cache.decr("n") == 9
    assert abs(cache.incrbyfloat("f", 0.1) - 0.1) < 1e-12
    assert cache.mset({"a": 1, "b": 2, "c": 3}) is True
    assert cache.mget("a", "none", "c") == [b"1", None, b"3"]
    assert cache.getex("a", ex=100) == b"1" and cache.persist("a") is True
    assert cache.getdel("b") == b"2" and cache.exists("a", "b", "c") == 2
    assert cache.append("text", "hello") == 5 and cache.getrange("text", 1, 3) == b"ell"
    assert cache.rename("text", "moved") and cache.type("moved") == b"string"
    assert cache.copy("moved", "copied") in (True, 1) and cache.strlen("copied") == 5
    assert cache.expire("copied", 100, nx=True) in (True, 1)
    assert cache.setbit("bits", 7, 1) == 0 and cache.bitcount("bits") == 1

    pipe = cache.pipeline(transaction=False)
    for i in range(1_000):
        pipe.set(f"p:{i}", i).get(f"p:{i}")
    results = pipe.execute()
    assert results[1::2] == [str(i).encode() for i in range(1_000)]
    assert len(set(cache.scan_iter(match="p:*", count=50))) == 1_000
    assert len(list(cache.scan_iter(match="p:*", _type="string"))) >= 1_000
    assert sorted(cache.keys("p:99?")) == [f"p:{i}".encode() for i in range(990, 1_000)]
    assert cache.delete(*(f"p:{i}" for i in range(1_000))) == 1_000
    assert cache.unlink("a", "c", "none") == 2

    info = cache.info()
    version = tuple(int(part) for part in info["redis_version"].split("."))
    assert version >= (7, 4, 0), f"client-side caching needs 7.4.0, here is {version}"
    assert info["db0"]["keys"] == cache.dbsize()
    assert "maxmemory" in cache.config_get("maxmemory*")
    assert cache.client_setname("application") and cache.client_getname() in (b"application", "application")
    assert any(client["name"] == "application" for client in cache.client_list())
    assert cache.command_count() > 60
    assert len(cache.time()) == 2 and cache.lastsave() is not None
    try:
        cache.lpush("list", 1)
    except redis.ResponseError as error:
        assert "unknown command" in str(error), error
    else:
        raise AssertionError("there are no lists")

    # A second database, by URL as frameworks configure it.
    other = redis.Redis.from_url(f"redis://127.0.0.1:{PORT}/1")
    other.flushdb()
    assert other.get("user:1") is None and other.set("user:1", "Grace")
    assert cache.get("user:1") == b"Ada" and other.dbsize() == 1


application(redis.Redis(port=PORT))
application(redis.Redis(port=PORT, protocol=3))
application(redis.Redis(port=PORT, protocol=2))
