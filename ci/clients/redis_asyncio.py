"""redis-py's asyncio client: a hundred tasks over a pool."""

import asyncio
import sys

import redis.asyncio as redis

PORT = int(sys.argv[1])


async def task(cache: redis.Redis, name: int) -> None:
    for i in range(50):
        await cache.set(f"task:{name}:{i}", f"{name}-{i}", ex=100)
        assert await cache.get(f"task:{name}:{i}") == f"{name}-{i}".encode()
        await cache.incr("tasks")


async def main() -> None:
    async with redis.Redis(port=PORT, max_connections=200) as cache:
        await cache.flushdb()
        await asyncio.gather(*(task(cache, name) for name in range(100)))
        assert await cache.get("tasks") == b"5000"
        found = [key async for key in cache.scan_iter(match="task:7:*")]
        assert len(found) == 50, found


asyncio.run(main())
