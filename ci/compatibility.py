"""Makes docs/compatibility.md of what ci/clients.sh found: ci/compatibility.py LINES

LINES holds one JSON object per step, as ci/clients/harness.py prints them. A step of a name that is not in FEATURES is an error here,
so that one thing has one row.
"""

import json
import sys

INTRODUCTION = """\
# What works with which client

Made by `ci/clients.sh --update` from what it ran: each tick is a step that a real client, as its users install it, took against
this server on its one port. CI runs them all and compares. "–": the client has no such call, or the step was not made for it.
"""

CLOSING = """\
## In Rust

The crates `redis` and `memcache` (text and binary) run on both engines in [tests/redis_client.rs](../tests/redis_client.rs) and
[tests/memcache_crate.rs](../tests/memcache_crate.rs); what they are expected to get there is what Valkey and memcached answer.

## Not here

Lists, sets, sorted sets, hashes and streams: what is built on them (queues, among them Celery's broker and its chords) needs another
server. What a client asks for that is not here gets an error, and the connection goes on.
"""

# The tables, in their order, with their rows in theirs. "Tools" is a list: its clients have little in common.
FEATURES = {
    "Redis": [
        "PING, FLUSHDB, DBSIZE",
        "GET, SET EX",
        "binary keys and values, 1 MiB",
        "SET NX PX, XX GET",
        "SET IFEQ, DELIFEQ, MSETEX",
        "GETEX, GETDEL, PERSIST",
        "MGET, MSET",
        "INCR, DECR, INCRBYFLOAT",
        "APPEND, GETRANGE, SETBIT",
        "EXPIRE, TTL",
        "DEL, UNLINK, EXISTS",
        "RENAME, COPY, TYPE",
        "SCAN, KEYS",
        "SELECT",
        "pipeline",
        "MULTI/EXEC",
        "WATCH",
        "EVAL, EVALSHA, SCRIPT LOAD",
        "locks (SET NX PX, EVALSHA)",
        "PUBLISH, SUBSCRIBE",
        "PSUBSCRIBE, PUBSUB",
        "CLIENT TRACKING (client-side cache)",
        "INFO, CONFIG GET, CLIENT",
        "an unknown command is an error, no more",
    ],
    "memcached text": [
        "get, set",
        "binary values, 1 MB",
        "keys of up to 250 bytes",
        "multiget",
        "noreply",
        "add, replace",
        "append, prepend",
        "gets, cas",
        "incr, decr",
        "touch",
        "delete",
        "flush_all",
        "stats, version",
        "many connections",
        "memccapable's conformance tests",
    ],
    "memcached meta": [
        "mg, ms, md",
        "values of 1 MB",
        "binary keys (b)",
        "ms modes E A P R",
        "multiget",
        "quiet (q) and mn",
        "compare and set (c, C)",
        "counters (ma N J D T)",
        "touch (T)",
        "leases (N)",
        "stale values (I, W, X, Z)",
        "early renewal (R)",
        "me",
    ],
    "memcached binary": [],  # As text.
    "HTTP": [
        "PUT, GET, HEAD, DELETE",
        "any bytes in keys, 1 MiB values",
        "ETag, If-None-Match: 304",
        "If-Match, If-None-Match: * (compare and set)",
        "X-TTL-Ms, Cache-Control: max-age",
        "POST /v1/batch",
        "GET /healthz",
        "a web page's request is refused (Origin: 403)",
        "wrong requests are answered",
        "many connections",
        "HTTP/1.0, Expect: 100-continue",
    ],
    "JSON lines and protobuf": ["JSON lines: get, set", "protobuf: the example of sdk/python"],
    "Frameworks": [
        "get, set with a lifetime",
        "add (set if absent)",
        "get_many, set_many, delete_many",
        "incr, decr",
        "touch",
        "delete",
        "clear",
        "sessions",
        "locks",
        "delete by pattern, lifetimes",
        "remembered functions",
        "task results (MULTI, SETEX, PUBLISH, SUBSCRIBE)",
        "groups of tasks (MGET)",
    ],
    "Tools": [],
}
FEATURES["memcached binary"] = FEATURES["memcached text"]


def mark(ok: bool | None) -> str:
    return {None: "–", True: "✓", False: "✗"}[ok]


def row(cells) -> str:
    return "| " + " | ".join(cells) + " |\n"


def matrix(steps: list[dict], features: list[str]) -> str:
    """Rows are features, columns clients in the order in which they ran."""
    clients = list(dict.fromkeys(step["client"] for step in steps))
    results: dict[tuple, bool] = {}
    for step in steps:
        place = (step["feature"], step["client"])
        results[place] = results.get(place, True) and step["ok"]
    rows = [feature for feature in features if any(feature == found for found, _ in results)]
    text = row(["", *(client.replace(" (", "<br>(") for client in clients)])
    text += row(["---", *(":-:" for _ in clients)])
    for feature in rows:
        text += row([feature, *(mark(results.get((feature, client))) for client in clients)])
    return text


def listing(steps: list[dict]) -> str:
    text = row(["tool", "what", ""]) + row(["---", "---", ":-:"])
    for step in steps:
        text += row([step["client"], step["feature"], mark(step["ok"])])
    return text


def document(steps: list[dict]) -> str:
    for step in steps:
        if step["table"] != "Tools" and step["feature"] not in FEATURES[step["table"]]:
            raise SystemExit(f"ci/compatibility.py: FEATURES has no row {step['feature']!r} in {step['table']!r}")
    text = INTRODUCTION
    for table, features in FEATURES.items():
        if mine := [step for step in steps if step["table"] == table]:
            text += f"\n## {table}\n\n" + (listing(mine) if table == "Tools" else matrix(mine, features))
    return text + "\n" + CLOSING


with open(sys.argv[1], encoding="utf-8") as lines:
    print(document([json.loads(line) for line in lines]), end="")
