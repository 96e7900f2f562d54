"""valkey-py, which speaks RESP2 and Valkey's own dialect."""

import sys

import valkey

cache = valkey.Valkey(port=int(sys.argv[1]), decode_responses=True)
cache.flushdb()
assert cache.set("k", "v", px=60_000) is True
assert cache.get("k") == "v"
assert 0 < cache.pttl("k") <= 60_000
assert cache.mset({"x": "1", "y": "2"}) and cache.mget("x", "y", "z") == ["1", "2", None]
with cache.pipeline(transaction=False) as pipe:
    assert pipe.incr("n").incr("n").get("n").execute() == [1, 2, "2"]
# Compare-and-set and compare-and-delete, as Valkey 9 has them.
assert cache.execute_command("SET", "k", "new", "IFEQ", "v") == "OK" or cache.get("k") == "new"
assert cache.execute_command("DELIFEQ", "k", "v") == 0
assert cache.execute_command("DELIFEQ", "k", "new") == 1
assert cache.execute_command("MSETEX", 2, "s", "1", "t", "2", "EX", 100) == 1
assert 90 < cache.ttl("s") <= 100
assert set(cache.scan_iter()) == {"x", "y", "n", "s", "t"}
