"""redis-py's asyncio client: a hundred tasks over a pool, and what waits: subscriptions, locks."""

import asyncio

import redis
import redis.asyncio
from harness import PORT, Client, equal, finish, loop

client = Client("redis-py", redis.__version__, "Redis", "asyncio, RESP3")
cache = redis.asyncio.Redis(port=PORT, max_connections=200)


@client.step("GET, SET EX")
async def hundred_tasks():
    async def task(name: int) -> None:
        for i in range(20):
            await cache.set(f"task:{name}:{i}", f"{name}-{i}", ex=100)
            equal(await cache.get(f"task:{name}:{i}"), f"{name}-{i}".encode())
            await cache.incr("tasks")

    await cache.flushdb()
    await asyncio.gather(*(task(name) for name in range(100)))
    equal(await cache.get("tasks"), b"2000")


@client.step("SCAN, KEYS")
async def scan():
    equal(len([key async for key in cache.scan_iter(match="task:7:*")]), 20)


@client.step("pipeline")
async def pipeline():
    async with cache.pipeline(transaction=False) as pipe:
        for i in range(100):
            pipe.set(f"p:{i}", i).get(f"p:{i}")
        equal((await pipe.execute())[1::2], [str(i).encode() for i in range(100)])


@client.step("MULTI/EXEC")
async def transaction():
    async with cache.pipeline(transaction=True) as pipe:
        equal(await pipe.set("t", 1).incr("t").execute(), [True, 2])


@client.step("locks (SET NX PX, EVALSHA)")
async def locks():
    # Each waits for the one before it.
    async def work():
        async with cache.lock("work", timeout=10, sleep=0.01):
            seen = int(await cache.get("shared") or 0)
            await asyncio.sleep(0.001)
            await cache.set("shared", seen + 1)

    await asyncio.gather(*(work() for _ in range(10)))
    equal(await cache.get("shared"), b"10")


@client.step("PUBLISH, SUBSCRIBE")
async def subscribe():
    async with cache.pubsub() as news:
        await news.subscribe("news")
        equal((await news.get_message(timeout=5))["type"], "subscribe")
        await asyncio.gather(*(cache.publish("news", i) for i in range(50)))
        got = [(await news.get_message(timeout=5))["data"] for _ in range(50)]
        equal(sorted(map(int, got)), list(range(50)))


loop.run_until_complete(cache.aclose())
finish()
