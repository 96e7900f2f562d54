"""redis-py as applications use it: its defaults (RESP3), RESP2, locks, and its client-side cache."""

import threading

import redis
from harness import ADDRESS, OURS, PORT, Client, equal, finish, raises
from redis.cache import CacheConfig


def application(client: Client, **options) -> None:
    cache = redis.Redis(port=PORT, **options)

    @client.step("PING, FLUSHDB, DBSIZE")
    def ping():
        assert cache.ping() is True
        assert cache.flushdb() is True
        equal(cache.dbsize(), 0)

    @client.step("GET, SET EX")
    def get_set():
        assert cache.set("user:1", "Ada", ex=60) is True
        equal(cache.get("user:1"), b"Ada")
        assert 55 <= cache.ttl("user:1") <= 60
        equal(cache.get("none"), None)

    @client.step("binary keys and values, 1 MiB")
    def binary():
        value = bytes(range(256)) * 4096
        cache.set(b"binary\x00\r\n\xff", value)
        equal(cache.get(b"binary\x00\r\n\xff"), value)
        equal(cache.strlen(b"binary\x00\r\n\xff"), len(value))

    @client.step("SET NX PX, XX GET")
    def conditional_set():
        assert cache.set("lock", "me", nx=True, px=30_000) is True
        assert cache.set("lock", "you", nx=True, px=30_000) is None
        equal(cache.set("lock", "me again", xx=True, get=True), b"me")
        assert cache.setnx("lock", "you") in (False, 0)

    @client.step("GETEX, GETDEL, PERSIST")
    def get_and_more():
        cache.set("a", 1)
        equal(cache.getex("a", ex=100), b"1")
        assert cache.persist("a") in (True, 1)
        equal(cache.ttl("a"), -1)
        equal(cache.getdel("a"), b"1")
        equal(cache.get("a"), None)

    @client.step("MGET, MSET")
    def several():
        assert cache.mset({"a": 1, "b": 2, "c": 3}) is True
        equal(cache.mget("a", "none", "c"), [b"1", None, b"3"])

    @client.step("INCR, DECR, INCRBYFLOAT")
    def counters():
        equal([cache.incr("n"), cache.incrby("n", 9), cache.decr("n")], [1, 10, 9])
        assert abs(cache.incrbyfloat("f", 0.1) - 0.1) < 1e-12
        cache.set("text", "no number")
        assert "not an integer" in str(raises(redis.ResponseError, lambda: cache.incr("text")))

    @client.step("APPEND, GETRANGE, SETBIT")
    def parts():
        cache.delete("text")
        equal(cache.append("text", "hello"), 5)
        equal(cache.getrange("text", 1, 3), b"ell")
        equal(cache.setrange("text", 4, "!"), 5)
        equal([cache.setbit("bits", 7, 1), cache.getbit("bits", 7), cache.bitcount("bits")], [0, 1, 1])

    @client.step("EXPIRE, TTL")
    def expiry():
        cache.set("short", 1)
        assert cache.expire("short", 100, nx=True) in (True, 1)
        assert cache.expire("short", 100, nx=True) in (False, 0)
        assert 99_000 <= cache.pttl("short") <= 100_000
        equal(cache.ttl("none"), -2)

    @client.step("DEL, UNLINK, EXISTS")
    def remove():
        cache.mset({"a": 1, "b": 2, "c": 3})
        equal([cache.exists("a", "b", "none"), cache.delete("a", "none"), cache.unlink("b", "c")], [2, 1, 2])

    @client.step("RENAME, COPY, TYPE")
    def names():
        cache.set("old", "x")
        assert cache.rename("old", "new") is True
        equal(cache.type("new"), b"string")
        assert cache.copy("new", "copied") in (True, 1)
        equal(cache.get("copied"), b"x")

    @client.step("pipeline")
    def pipeline():
        pipe = cache.pipeline(transaction=False)
        for i in range(1_000):
            pipe.set(f"p:{i}", i).get(f"p:{i}")
        equal(pipe.execute()[1::2], [str(i).encode() for i in range(1_000)])

    @client.step("SCAN, KEYS")
    def scans():
        cache.mset({f"p:{i}": i for i in range(1_000)})
        equal(len(set(cache.scan_iter(match="p:*", count=50))), 1_000)
        assert len(list(cache.scan_iter(match="p:*", _type="string"))) >= 1_000
        equal(sorted(cache.keys("p:99?")), [f"p:{i}".encode() for i in range(990, 1_000)])
        equal(cache.delete(*(f"p:{i}" for i in range(1_000))), 1_000)

    @client.step("MULTI/EXEC")
    def transaction():
        cache.delete("n")
        with cache.pipeline() as pipe:
            equal(pipe.set("t", 1).incr("n").get("t").execute(), [True, 1, b"1"])
            pipe.incr("n").execute_command("GET").incr("n")
            raises(redis.ResponseError, pipe.execute)
        equal(cache.get("n"), b"1")

    @client.step("WATCH")
    def watch():
        with cache.pipeline() as pipe:
            pipe.watch("n")
            cache.set("n", 5)
            pipe.multi()
            pipe.set("n", 6)
            raises(redis.WatchError, pipe.execute)
        equal(cache.get("n"), b"5")
        equal(cache.transaction(lambda pipe: pipe.multi() or pipe.incr("n"), "n"), [6])

    @client.step("EVAL, EVALSHA, SCRIPT LOAD")
    def scripts():
        equal(cache.eval("return {KEYS[1], ARGV[1], 7}", 1, "k", "v"), [b"k", b"v", 7])
        sha = cache.script_load("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        cache.delete("n")
        equal([cache.evalsha(sha, 1, "n", 4), cache.evalsha(sha, 1, "n", 4)], [4, 8])
        equal(cache.script_exists(sha, "0" * 40), [True, False])
        raises(redis.exceptions.NoScriptError, lambda: cache.evalsha("0" * 40, 0))
        add_if_absent = cache.register_script(
            "if redis.call('exists', KEYS[1]) < 1 then return redis.call('setex', KEYS[1], ARGV[2], ARGV[1]) end return false"
        )
        cache.delete("added")
        equal([add_if_absent(["added"], ["x", 60]), add_if_absent(["added"], ["y", 60])], [b"OK", None])

    @client.step("locks (SET NX PX, EVALSHA)")
    def locks():
        cache.delete("work")
        with cache.lock("work", timeout=10) as lock:
            assert lock.owned() and lock.extend(5) and lock.reacquire()
            assert not cache.lock("work", timeout=10, blocking=False).acquire()
        assert cache.lock("work", timeout=10, blocking_timeout=1).acquire()
        lock = cache.lock("other", timeout=10)
        lock.acquire()
        cache.set("other", "stolen")
        raises(redis.exceptions.LockNotOwnedError, lock.release)

    @client.step("PUBLISH, SUBSCRIBE")
    def subscribe():
        with cache.pubsub() as news:
            news.subscribe("news")
            equal(news.get_message(timeout=5)["type"], "subscribe")
            equal(cache.publish("news", "hello"), 1)
            message = news.get_message(timeout=5)
            equal((message["channel"], message["data"]), (b"news", b"hello"))
            news.ping()
            news.unsubscribe()
            equal([news.get_message(timeout=5)["type"] for _ in range(2)], ["pong", "unsubscribe"])
        equal(cache.publish("news", "nobody"), 0)

    @client.step("PSUBSCRIBE, PUBSUB")
    def patterns():
        got = threading.Event()
        with cache.pubsub() as news:
            news.psubscribe(**{"news.*": lambda message: message["data"] == b"now" and got.set()})
            thread = news.run_in_thread(sleep_time=0.05)
            while cache.pubsub_numpat() == 0:
                pass
            equal(cache.publish("news.all", "now"), 1)
            assert got.wait(5)
            thread.stop()
            thread.join()

    @client.step("SELECT")
    def databases():
        # As frameworks configure it.
        cache.set("user:1", "Ada")
        other = redis.Redis.from_url(f"redis://{ADDRESS}/1", **options)
        other.flushdb()
        equal(other.get("user:1"), None)
        other.set("user:1", "Grace")
        equal((cache.get("user:1"), other.dbsize()), (b"Ada", 1))

    @client.step("INFO, CONFIG GET, CLIENT")
    def administration():
        equal(cache.info()["db0"]["keys"], cache.dbsize())
        assert "maxmemory" in cache.config_get("maxmemory*")
        one = redis.Redis(port=PORT, client_name="application", **options)
        one.ping()
        assert one.client_getname() in (b"application", "application")
        assert any(peer["name"] == "application" for peer in cache.client_list())
        assert cache.command_count() > 60
        assert len(cache.time()) == 2 and cache.lastsave() is not None
        equal(cache.memory_usage("user:1") > 0, True)

    @client.step("an unknown command is an error, no more", only_ours=True)
    def unknown():
        assert "unknown command" in str(raises(redis.ResponseError, lambda: cache.lpush("list", 1)))
        assert cache.ping() is True

    cache.close()


def client_side_cache(client: Client) -> None:
    @client.step("CLIENT TRACKING (client-side cache)")
    def tracking():
        if not OURS:
            # It asks for a server "redis" of 7.4; Valkey is "valkey", 7.2.4.
            redis.connection.CacheProxyConnection.DEFAULT_SERVER_NAME = "valkey"
            redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = "7.2.0"
        near = redis.Redis(port=PORT, protocol=3, cache_config=CacheConfig(max_size=100))
        far = redis.Redis(port=PORT)
        far.set("tracked", "old")
        equal(near.get("tracked"), b"old")
        equal(near.get_cache().size, 1)
        far.set("tracked", "new")
        # The invalidation is read before the next answer is taken from the cache.
        for _ in range(100):
            if near.get("tracked") == b"new":
                break
        equal(near.get("tracked"), b"new")
        equal(near.mget("tracked", "none"), [b"new", None])
        far.flushdb()
        for _ in range(100):
            if near.get("tracked") is None:
                break
        equal(near.get("tracked"), None)


application(Client("redis-py", redis.__version__, "Redis", "RESP3"))
application(Client("redis-py", redis.__version__, "Redis", "RESP2"), protocol=2)
client_side_cache(Client("redis-py", redis.__version__, "Redis", "RESP3"))
finish()
