"""KV-Cache's protobuf frames from Python: set, get, several keys, a pipeline, a batch.

    pip install protobuf
    python protobuf_example.py --port 7171

kv_pb2.py is generated from the schema, and comes out anew for another release of protobuf with

    pip install grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=sdk/python proto/kv.proto

The exit status is 0 if every answer was the expected one, 1 if not.
"""

from __future__ import annotations

import argparse
import socket
import sys
from types import TracebackType

import kv_pb2 as kv

MAGIC = b"\xfaKV\x01"


class Connection:
    """One connection. Requests may be sent ahead; their responses come in the same order."""

    def __init__(self, host: str, port: int, password: str | None = None) -> None:
        self._socket = socket.create_connection((host, port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")
        self._last_id = 0
        self._socket.sendall(MAGIC)
        if password is not None:
            response = self.ask(kv.Request(auth=kv.Auth(password=password.encode())))
            if response.status != kv.STATUS_OK:
                raise PermissionError(response.message)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._replies.close()
        self._socket.close()

    def ask(self, request: kv.Request) -> kv.Response:
        """One request, one response."""
        return self.ask_all([request])[0]

    def ask_all(self, requests: list[kv.Request]) -> list[kv.Response]:
        """A pipeline: all requests in one write. As many as fit into the sockets' buffers, or both sides wait for each other."""
        frames = bytearray()
        first = self._last_id + 1
        for request in requests:
            self._last_id += 1
            request.id = self._last_id
            frames += _varint(request.ByteSize()) + request.SerializeToString()
        self._socket.sendall(frames)
        responses = [self._read() for _ in requests]
        # They come in order, so this is a check; whoever shares a connection among threads would look the request up by it.
        for expected, response in enumerate(responses, first):
            if response.id != expected:
                raise RuntimeError(f"expected the response {expected}, not {response}")
        return responses

    def _read(self) -> kv.Response:
        length = shift = 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return kv.Response.FromString(self._exactly(length))

    def _exactly(self, length: int) -> bytes:
        data = self._replies.read(length)
        if len(data) < length:
            raise ConnectionError("the server closed the connection")
        return data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def expect(what: str, found: object, expected: object) -> None:
    print(f"{what:<28} {found!r}")
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows KV-Cache's protobuf frames against a running server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7171)
    parser.add_argument("--password")
    options = parser.parse_args()

    with Connection(options.host, options.port, options.password) as cache:
        expect("ping", cache.ask(kv.Request(ping=kv.Ping())).status, kv.STATUS_OK)

        stored = cache.ask(kv.Request(set=kv.Set(key=b"pb:city", value=b"Paris", ttl_ms=60_000, flags=7)))
        expect("set", stored.status, kv.STATUS_OK)
        got = cache.ask(kv.Request(get=kv.Get(key=b"pb:city", want_cas=True)))
        expect("get", got.value, b"Paris")
        expect("its flags", got.flags, 7)
        expect("its time left", 0 < got.ttl_ms <= 60_000, True)
        missed = cache.ask(kv.Request(get=kv.Get(key=b"pb:nowhere")))
        expect("get of nothing", kv.Status.Name(missed.status), "STATUS_NOT_FOUND")

        # Written only by whoever saw the last state.
        change = kv.Set(key=b"pb:city", value=b"Rome", cas=got.cas)
        expect("set with its CAS", cache.ask(kv.Request(set=change)).status, kv.STATUS_OK)
        expect("set with an old CAS", kv.Status.Name(cache.ask(kv.Request(set=change)).status), "STATUS_EXISTS")

        several = cache.ask(kv.Request(multi_get=kv.MultiGet(keys=[b"pb:city", b"pb:nowhere"])))
        expect("multi-get", [(r.status, r.value) for r in several.results], [(kv.STATUS_OK, b"Rome"), (kv.STATUS_NOT_FOUND, b"")])

        writes = [kv.Request(set=kv.Set(key=b"pb:%d" % i, value=b"%d" % (i * i))) for i in range(100)]
        reads = [kv.Request(get=kv.Get(key=b"pb:%d" % i)) for i in range(100)]
        answers = cache.ask_all(writes + reads)
        expect("pipeline of 200", [int(r.value) for r in answers[100:]] == [i * i for i in range(100)], True)

        batch = kv.Batch(
            ops=[
                kv.Op(delete=kv.Delete(key=b"pb:visits")),
                kv.Op(incr=kv.Incr(key=b"pb:visits", delta=1, initial=1)),
                kv.Op(incr=kv.Incr(key=b"pb:visits", delta=41)),
                kv.Op(get=kv.Get(key=b"pb:visits")),
            ]
        )
        results = cache.ask(kv.Request(batch=batch)).results
        expect("batch", (results[1].number, results[2].number, results[3].value), (1, 42, b"42"))

        keys = [b"pb:city", b"pb:visits"] + [b"pb:%d" % i for i in range(100)]
        gone = cache.ask(kv.Request(batch=kv.Batch(ops=[kv.Op(delete=kv.Delete(key=key)) for key in keys])))
        expect("all deleted", all(r.status == kv.STATUS_OK for r in gone.results), True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, RuntimeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
