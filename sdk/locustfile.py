"""Load on KV-Cache, or any server that speaks RESP, from Locust: in one process, or from many workers.

    locust -f sdk/locustfile.py                                       # web page on port 8089
    locust -f sdk/locustfile.py --headless -u 20 -r 20 -t 10s RespUser
    locust -f sdk/locustfile.py --master                              # and on as many cores or machines as wanted:
    locust -f sdk/locustfile.py --worker --master-host ADDRESS

Needs `pip install locust redis`. RespUser speaks RESP through redis-py, HttpUser HTTP through Python's own client, JsonLinesUser
the JSON lines through the client in sdk/python; without a name all are used. What they do is set by the options below or by LOAD_… in the environment;
the server by Locust's own --host, as host:port.

A user makes one round trip after another without pause: `--pipeline` requests, drawn from `--keys` keys. A value follows
from its key, and a read that answers another value is a failure. Reads of keys that were not written yet are misses, which
have a line of their own. Locust counts round trips: with `--pipeline 16`, 1,000 of its requests are 16,000 of the server's.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

import redis
from locust import User, constant, events, task

sys.path.insert(0, str(Path(__file__).parent / "python"))
import kv_cache  # found by the line above

Request = tuple[str, str | None]  # a key, and the value to write, or None to read


def read_share(ratio: str) -> float:
    """Of GET:SET, such as 9:1, the part of the reads: 0.9."""
    reads, writes = (float(part) for part in ratio.split(":"))
    if min(reads, writes) < 0 or reads + writes == 0:
        raise ValueError(ratio)
    return reads / (reads + writes)


def ratio_text(text: str) -> str:
    try:
        read_share(text)
    except ValueError:
        raise ArgumentTypeError(f"want reads:writes, such as 9:1, not {text!r}") from None
    return text


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"want a number from 1 on, not {text!r}")
    return int(text)


@events.init_command_line_parser.add_listener
def options(parser: ArgumentParser, **_: Any) -> None:
    add: Any = parser.add_argument_group("load on the cache").add_argument
    add("--keys", type=positive, default=10_000, env_var="LOAD_KEYS", help="number of keys")
    add("--value-size", type=positive, default=64, env_var="LOAD_VALUE_SIZE", help="characters of a value")
    add("--ratio", type=ratio_text, default="9:1", env_var="LOAD_RATIO", help="reads to writes")
    add("--pipeline", type=positive, default=1, env_var="LOAD_PIPELINE", help="requests per round trip")


class WrongValue(Exception):
    """A read answered something that nobody wrote under its key."""


class CacheUser(User):
    """A connection that asks without pause. A protocol is a subclass with `connect` and `ask`."""

    abstract = True
    host = "127.0.0.1:7171"
    wait_time = constant(0)
    protocol = ""
    cache: Any = None

    def connect(self, host: str, port: int) -> None:
        """Sets `cache`."""
        raise NotImplementedError

    def ask(self, requests: list[Request]) -> list[Any]:
        """The answers, in order: for a read the value or None, for a write anything. Raises or returns exceptions."""
        raise NotImplementedError

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self.keys, self.pipeline = options.keys, options.pipeline
        self.reads = read_share(options.ratio)
        self.filling = "x" * options.value_size
        host, _, port = self.host.rpartition(":")
        self.connect(host.strip("[]"), int(port))

    def on_stop(self) -> None:
        if self.cache is not None:
            self.cache.close()

    @task
    def round_trip(self) -> None:
        requests = [self.draw() for _ in range(self.pipeline)]
        answers: list[Any] = []
        error: Exception | None = None
        started = time.perf_counter()
        try:
            answers = self.ask(requests)
        except (redis.RedisError, kv_cache.Error, http.client.HTTPException, OSError) as raised:
            error = raised
        elapsed_ms = (time.perf_counter() - started) * 1000
        self.environment.events.request.fire(
            request_type=self.protocol,
            name=self.name_of(requests, answers),
            response_time=elapsed_ms,
            response_length=sum(len(answer) for answer in answers if isinstance(answer, str)),
            exception=error or self.first_wrong(requests, answers),
            context={},
        )

    def draw(self) -> Request:
        key = f"key:{random.randrange(self.keys)}"
        return key, None if random.random() < self.reads else self.value_of(key)

    def value_of(self, key: str) -> str:
        return f"{key}={self.filling}"[: len(self.filling)]

    def first_wrong(self, requests: list[Request], answers: list[Any]) -> Exception | None:
        for (key, written), answer in zip(requests, answers, strict=True):
            if isinstance(answer, Exception):
                return answer
            if written is None and answer is not None and answer != self.value_of(key):
                return WrongValue("a read answered another value than was written")
        return None

    def name_of(self, requests: list[Request], answers: list[Any]) -> str:
        if len(requests) > 1:
            return f"{len(requests)} requests"
        if requests[0][1] is not None:
            return "SET"
        return "GET, a miss" if answers == [None] else "GET"


class RespUser(CacheUser):
    protocol = "RESP"

    def connect(self, host: str, port: int) -> None:
        # One connection held for good: taking it from a pool for each request would halve the rate.
        self.cache = redis.Redis(
            host=host, port=port, decode_responses=True, single_connection_client=True, socket_timeout=10
        )

    def ask(self, requests: list[Request]) -> list[Any]:
        if len(requests) == 1:
            key, value = requests[0]
            return [self.cache.get(key) if value is None else self.cache.set(key, value)]
        pipeline = self.cache.pipeline(transaction=False)
        for key, value in requests:
            if value is None:
                pipeline.get(key)
            else:
                pipeline.set(key, value)
        return pipeline.execute(raise_on_error=False)


class JsonLinesUser(CacheUser):
    protocol = "JSON lines"

    def connect(self, host: str, port: int) -> None:
        self.cache = kv_cache.Client(host, port, timeout=10)

    def ask(self, requests: list[Request]) -> list[Any]:
        pipeline = self.cache.pipeline()
        for key, value in requests:
            if value is None:
                pipeline.get(key)
            else:
                pipeline.set(key, value)
        return pipeline.execute()


class HttpUser(CacheUser):
    """With `--pipeline`, a batch."""

    protocol = "HTTP"

    def connect(self, host: str, port: int) -> None:
        self.cache = http.client.HTTPConnection(host, port, timeout=10)

    def ask(self, requests: list[Request]) -> list[Any]:
        if len(requests) == 1:
            key, value = requests[0]
            status, text = self.exchange("GET" if value is None else "PUT", f"/v1/keys/{key}", value)
            return [text if status == 200 else None if status == 404 else self.wrote(status)]
        ops = [{"op": "get", "key": key} if value is None else {"op": "set", "key": key, "value": value} for key, value in requests]
        status, text = self.exchange("POST", "/v1/batch", json.dumps({"ops": ops}))
        if status != 200:
            return [self.wrote(status)] * len(requests)
        return [result.get("value") if result["status"] in (200, 404) else self.wrote(result["status"]) for result in json.loads(text)["results"]]

    def exchange(self, method: str, path: str, body: str | None) -> tuple[int, str]:
        self.cache.request(method, path, body)
        answer = self.cache.getresponse()
        return answer.status, answer.read().decode()

    def wrote(self, status: int) -> Any:
        return True if status == 204 else WrongValue(f"status {status}")
