"""Flask-Caching and dogpile.cache over Redis and over memcached's text protocol."""

import threading

import dogpile
import flask
import flask_caching
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from harness import ADDRESS, PORT, Client, arguments, equal, finish


def flask_cache(client: Client, config: dict) -> None:
    app = flask.Flask("check")
    cache = flask_caching.Cache(app, config=config | {"CACHE_DEFAULT_TIMEOUT": 60, "CACHE_KEY_PREFIX": "flask_"})

    @client.step("get, set with a lifetime")
    def get_set():
        assert cache.set("page", {"title": "Ulm"}, timeout=5)
        equal(cache.get("page"), {"title": "Ulm"})
        equal(cache.get("none"), None)

    @client.step("add (set if absent)")
    def add():
        assert cache.add("once", 1) and not cache.add("once", 2)

    @client.step("get_many, set_many, delete_many")
    def many():
        assert cache.set_many({"a": 1, "b": 2})
        equal(cache.get_many("a", "b", "none"), [1, 2, None])
        assert cache.delete_many("a", "b")
        equal(cache.get_dict("a", "once"), {"a": None, "once": 1})

    @client.step("delete")
    def delete():
        assert cache.delete("once")
        equal(cache.get("once"), None)

    @client.step("remembered functions")
    def memoize():
        calls = []

        @cache.memoize(50)
        def square(x):
            calls.append(x)
            return x * x

        with app.app_context():
            equal([square(3), square(3), square(4)], [9, 9, 16])
            cache.delete_memoized(square, 3)
            equal([square(3), square(4)], [9, 16])
        equal(calls, [3, 4, 3])

    @client.step("clear")
    def clear():
        cache.clear()
        equal(cache.get("page"), None)


def dogpile_region(client: Client, backend: str, options: dict) -> None:
    region = make_region(key_mangler=lambda key: f"dogpile_{key}").configure(backend, expiration_time=60, arguments=options)

    @client.step("get, set with a lifetime")
    def get_set():
        region.set("page", {"title": "Ulm"})
        equal(region.get("page"), {"title": "Ulm"})
        equal(region.get("none"), NO_VALUE)

    @client.step("get_many, set_many, delete_many")
    def many():
        region.set_multi({"a": 1, "b": 2})
        equal(region.get_multi(["a", "none", "b"]), [1, NO_VALUE, 2])
        region.delete_multi(["a", "b"])
        equal(region.get("a"), NO_VALUE)

    @client.step("delete")
    def delete():
        region.delete("page")
        equal(region.get("page"), NO_VALUE)

    @client.step("locks")
    def one_makes_it():
        # Of many threads that miss one value, one makes it.
        made = []

        def make():
            made.append(1)
            return len(made)

        region.delete("slow")
        threads = [threading.Thread(target=region.get_or_create, args=("slow", make)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal((made, region.get("slow")), ([1], 1))


flask_version, dogpile_version = flask_caching.__version__, dogpile.__version__
if arguments.server != "memcached":
    flask_cache(
        Client("Flask-Caching", flask_version, "Frameworks", "Redis"),
        {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"redis://{ADDRESS}/5"},
    )
    dogpile_region(
        Client("dogpile.cache", dogpile_version, "Frameworks", "Redis"),
        "dogpile.cache.redis",
        {"host": "127.0.0.1", "port": PORT, "db": 6, "redis_expiration_time": 120, "distributed_lock": True, "thread_local_lock": False},
    )
if arguments.server != "valkey":
    flask_cache(
        Client("Flask-Caching", flask_version, "Frameworks", "pylibmc"),
        {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": [ADDRESS]},
    )
    dogpile_region(
        Client("dogpile.cache", dogpile_version, "Frameworks", "pymemcache"),
        "dogpile.cache.pymemcache",
        {"url": [ADDRESS], "memcached_expire_time": 120, "distributed_lock": True, "lock_timeout": 10},
    )
finish()
