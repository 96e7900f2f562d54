"""valkey-py, which speaks RESP2 and Valkey's own dialect."""

import valkey
from harness import PORT, Client, equal, finish, raises

client = Client("valkey-py", valkey.__version__, "Redis", "RESP2")
cache = valkey.Valkey(port=PORT, decode_responses=True)


@client.step("PING, FLUSHDB, DBSIZE")
def ping():
    assert cache.ping() and cache.flushdb()
    equal(cache.dbsize(), 0)


@client.step("GET, SET EX")
def get_set():
    assert cache.set("k", "v", px=60_000) is True
    equal(cache.get("k"), "v")
    assert 0 < cache.pttl("k") <= 60_000


@client.step("MGET, MSET")
def several():
    assert cache.mset({"x": "1", "y": "2"})
    equal(cache.mget("x", "y", "z"), ["1", "2", None])


@client.step("SET IFEQ, DELIFEQ, MSETEX")
def compare():
    assert cache.execute_command("SET", "k", "new", "IFEQ", "v") is True
    equal(cache.execute_command("DELIFEQ", "k", "v"), 0)
    equal(cache.execute_command("DELIFEQ", "k", "new"), 1)
    equal(cache.execute_command("MSETEX", 2, "s", "1", "t", "2", "EX", 100), 1)
    assert 90 < cache.ttl("s") <= 100


@client.step("SCAN, KEYS")
def scan():
    equal(set(cache.scan_iter()), {"x", "y", "s", "t"})


@client.step("pipeline")
def pipeline():
    with cache.pipeline(transaction=False) as pipe:
        equal(pipe.incr("n").incr("n").get("n").execute(), [1, 2, "2"])


@client.step("MULTI/EXEC")
def transaction():
    with cache.pipeline() as pipe:
        equal(pipe.set("t", 1).incr("t").execute(), [True, 2])


@client.step("WATCH")
def watch():
    with cache.pipeline() as pipe:
        pipe.watch("t")
        cache.set("t", 5)
        pipe.multi()
        pipe.set("t", 6)
        raises(valkey.WatchError, pipe.execute)


@client.step("EVAL, EVALSHA, SCRIPT LOAD")
def scripts():
    unlock = cache.register_script("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end")
    equal([unlock(["t"], ["6"]), unlock(["t"], ["5"]), unlock(["t"], ["5"])], [0, 1, 0])
    equal(cache.eval("return server.call('incr', 'n')", 0), 3)


@client.step("locks (SET NX PX, EVALSHA)")
def locks():
    with cache.lock("work", timeout=10) as lock:
        assert lock.owned() and lock.extend(5)


@client.step("PUBLISH, SUBSCRIBE")
def subscribe():
    with cache.pubsub() as news:
        news.subscribe("news")
        equal(news.get_message(timeout=5)["type"], "subscribe")
        equal(cache.publish("news", "hello"), 1)
        equal(news.get_message(timeout=5)["data"], "hello")


finish()
