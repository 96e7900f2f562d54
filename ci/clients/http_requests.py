"""requests (urllib3 under it) over HTTP/1.1: keys, conditions, lifetimes, batches, and what a web page may not do."""

import base64
import threading
from urllib.parse import quote

import requests
from harness import ADDRESS, Client, equal, finish

client = Client("requests", requests.__version__, "HTTP")
http = requests.Session()
SECONDS = 10


def url(key: str | bytes) -> str:
    return f"http://{ADDRESS}/v1/keys/{quote(key, safe='')}"


def call(method: str, key: str | bytes, data=None, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.request(method, url(key), data=data, headers=fields, timeout=SECONDS)


def batch(*ops) -> list:
    answer = http.post(f"http://{ADDRESS}/v1/batch", json={"ops": list(ops)}, timeout=SECONDS)
    equal(answer.status_code, 200)
    return answer.json()["results"]


@client.step("PUT, GET, HEAD, DELETE")
def keys():
    assert call("PUT", "town", "Ulm").ok
    answer = call("GET", "town")
    equal((answer.status_code, answer.content), (200, b"Ulm"))
    answer = call("HEAD", "town")
    equal((answer.status_code, answer.headers["Content-Length"], answer.content), (200, "3", b""))
    assert call("DELETE", "town").ok
    equal([call(method, "town").status_code for method in ("GET", "HEAD", "DELETE")], [404, 404, 404])


@client.step("any bytes in keys, 1 MiB values")
def large():
    key, value = bytes(range(256)), bytes(range(256)) * 4096
    assert call("PUT", key, value).ok
    equal(call("GET", key).content, value)
    # Without a length, in chunks.
    assert call("PUT", "chunks", iter([b"one ", b"two ", value])).ok
    equal(call("GET", "chunks").content, b"one two " + value)


@client.step("ETag, If-None-Match: 304")
def revalidate():
    call("PUT", "page", "first")
    answer = call("GET", "page")
    tag = answer.headers["ETag"]
    again = call("GET", "page", If_None_Match=tag)
    equal((again.status_code, again.content), (304, b""))
    call("PUT", "page", "second")
    again = call("GET", "page", If_None_Match=tag)
    equal((again.status_code, again.content), (200, b"second"))
    assert again.headers["ETag"] != tag


@client.step("If-Match, If-None-Match: * (compare and set)")
def conditions():
    call("DELETE", "page")
    equal(call("PUT", "page", "0", If_Match="*").status_code, 412)
    assert call("PUT", "page", "1", If_None_Match="*").ok
    equal(call("PUT", "page", "2", If_None_Match="*").status_code, 412)
    tag = call("GET", "page").headers["ETag"]
    assert call("PUT", "page", "3", If_Match=tag).ok
    equal(call("PUT", "page", "4", If_Match=tag).status_code, 412)
    equal(call("DELETE", "page", If_Match=tag).status_code, 412)
    equal(call("GET", "page").content, b"3")
    assert call("DELETE", "page", If_Match=call("GET", "page").headers["ETag"]).ok


@client.step("X-TTL-Ms, Cache-Control: max-age")
def lifetimes():
    assert call("PUT", "short", "x", X_TTL_Ms="60000").ok
    left = int(call("GET", "short").headers["X-TTL-Ms"])
    assert 55_000 < left <= 60_000, left
    assert call("PUT", "short", "x", Cache_Control="max-age=100").ok
    answer = call("HEAD", "short")
    assert 95_000 < int(answer.headers["X-TTL-Ms"]) <= 100_000, answer.headers
    assert "max-age=" in answer.headers["Cache-Control"], answer.headers
    assert call("PUT", "short", "x").ok
    assert "X-TTL-Ms" not in call("GET", "short").headers
    call("PUT", "gone", "x", X_TTL_Ms="1")
    while call("GET", "gone").status_code != 404:
        pass


@client.step("POST /v1/batch")
def batches():
    results = batch(
        {"op": "set", "key": "a", "value": "x"},
        {"op": "get", "key": "a"},
        {"op": "delete", "key": "a"},
        {"op": "get", "key": "a"},
        {"op": "set", "key": "b", "value_base64": base64.b64encode(b"\x00\xff").decode(), "ttl_ms": 60_000},
    )
    equal([result["status"] for result in results], [204, 200, 204, 404, 204])
    equal(results[1]["value"], "x")
    equal(call("GET", "b").content, b"\x00\xff")
    assert int(call("GET", "b").headers["X-TTL-Ms"]) > 50_000
    equal(len(batch(*({"op": "get", "key": f"k{i}"} for i in range(100)))), 100)
    bad = http.post(f"http://{ADDRESS}/v1/batch", data="{", timeout=SECONDS)
    equal(bad.status_code, 400)


@client.step("GET /healthz")
def health():
    equal(http.get(f"http://{ADDRESS}/healthz", timeout=SECONDS).status_code, 200)


@client.step("a web page's request is refused (Origin: 403)")
def pages():
    call("PUT", "secret", "x")
    equal(call("GET", "secret", Origin="https://evil.example").status_code, 403)
    equal(call("PUT", "secret", "y", Origin="https://evil.example").status_code, 403)
    equal(call("GET", "secret", Sec_Fetch_Site="cross-site").status_code, 403)
    equal(call("GET", "secret").content, b"x")


@client.step("wrong requests are answered")
def wrong():
    equal(call("PATCH", "town", "x").status_code // 100, 4)
    equal(http.get(f"http://{ADDRESS}/nowhere", timeout=SECONDS).status_code, 404)
    equal(call("PUT", "short", "x", X_TTL_Ms="soon").status_code, 400)
    equal(call("GET", "town").status_code, 404)


@client.step("many connections")
def many():
    right = []

    def work(name: int) -> None:
        with requests.Session() as mine:
            for i in range(20):
                mine.put(url(f"{name}:{i}"), str(i), timeout=SECONDS)
                got = mine.get(url(f"{name}:{i}"), timeout=SECONDS)
                right.append(got.content == str(i).encode())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(right, [True] * 320)


finish()
