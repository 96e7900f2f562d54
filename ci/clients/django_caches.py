"""Django's cache through each backend: its own for Redis, django-redis, pymemcache and pylibmc; and its sessions over them."""

import django
import django_redis
from django.conf import settings
from harness import ADDRESS, OURS, Client, arguments, equal, finish

redis_url = f"redis://{ADDRESS}/3"
backends = {
    "redis": ("RedisCache", {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url}),
    "django_redis": (
        f"django-redis {'.'.join(map(str, django_redis.VERSION))}",
        {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url.replace("/3", "/4")},
    ),
    "pymemcache": ("PyMemcacheCache", {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": ADDRESS}),
    "pylibmc": ("PyLibMCCache", {"BACKEND": "django.core.cache.backends.memcached.PyLibMCCache", "LOCATION": ADDRESS}),
}
if not OURS:
    backends = {name: backend for name, backend in backends.items() if ("mem" in name or "lib" in name) == (arguments.server == "memcached")}

first = next(iter(backends))
settings.configure(
    CACHES={"default": backends[first][1]} | {name: options for name, (_, options) in backends.items()},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="only for this check",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends import cache as sessions  # noqa: E402
from django.core.cache import caches  # noqa: E402


def application(client: Client, name: str) -> None:
    cache = caches[name]

    @client.step("get, set with a lifetime")
    def get_set():
        cache.clear()
        cache.set("page", {"title": "Ulm", "body": "é" * 10_000}, timeout=60)
        equal(cache.get("page")["title"], "Ulm")
        equal(cache.get("none", "default"), "default")
        cache.set("forever", [1, 2], timeout=None)
        equal(cache.get_or_set("forever", lambda: None), [1, 2])
        assert cache.has_key("page") and "none" not in cache

    @client.step("add (set if absent)")
    def add():
        assert cache.add("once", 1, timeout=60) is True
        assert cache.add("once", 2, timeout=60) is False
        equal(cache.get("once"), 1)

    @client.step("get_many, set_many, delete_many")
    def many():
        assert not cache.set_many({f"many:{i}": i for i in range(100)}, timeout=60)
        equal(cache.get_many([f"many:{i}" for i in range(110)]), {f"many:{i}": i for i in range(100)})
        cache.delete_many([f"many:{i}" for i in range(50)])
        equal(len(cache.get_many([f"many:{i}" for i in range(100)])), 50)

    @client.step("incr, decr")
    def counters():
        cache.set("n", 5)
        equal([cache.incr("n", 3), cache.decr("n")], [8, 7])
        try:
            cache.incr("no counter")
        except ValueError:
            pass
        else:
            raise AssertionError("there was nothing to count")

    @client.step("touch")
    def touch():
        cache.set("short", 1, timeout=60)
        assert cache.touch("short", 600) is True
        assert cache.touch("none", 600) is False
        if name.startswith("redis"):
            cache.touch("short", None)

    @client.step("delete")
    def delete():
        assert cache.delete("once") is True
        assert cache.delete("once") is False

    if name == "django_redis":

        @client.step("locks")
        def locks():
            with cache.lock("work", timeout=10):
                assert cache.ttl("work") > 0

        @client.step("delete by pattern, lifetimes")
        def patterns():
            cache.set_many({f"user:{i}": i for i in range(20)})
            equal(len(list(cache.iter_keys("user:*"))), 20)
            equal(cache.delete_pattern("user:*"), 20)
            assert cache.expire("page", 100) and 90 < cache.ttl("page") <= 100 and cache.persist("page")
            equal(cache.ttl("page"), None)

    @client.step("sessions")
    def session():
        settings.SESSION_CACHE_ALIAS = name
        visitor = sessions.SessionStore()
        visitor["cart"] = [1, 2, 3]
        visitor.save()
        again = sessions.SessionStore(visitor.session_key)
        equal(again["cart"], [1, 2, 3])
        again.flush()
        assert not sessions.SessionStore(visitor.session_key).exists(visitor.session_key)

    @client.step("clear")
    def clear():
        cache.clear()
        equal(cache.get("page"), None)


for name, (title, _) in backends.items():
    application(Client("Django", django.__version__, "Frameworks", title), name)
finish()
