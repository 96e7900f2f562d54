"""A client for KV-Cache's JSON lines: one module, no dependencies, Python 3.10 or later.

    from kv_cache import Client

    with Client("127.0.0.1", 7171) as cache:
        cache.set("city", "Paris")
        cache.get("city")                                         # "Paris"
        cache.get("nowhere")                                      # None
        cache.pipeline().set("a", "1").get("a").execute()         # [None, "1"]

Keys and values are text. Whoever needs bytes, expiry or counters uses any Redis client on the same port.

On the wire a request is a JSON object, and so is its reply. Nothing stands between replies, not even a newline, so that
only the JSON itself tells where one ends; :class:`_Replies` finds it, wherever reads cut the stream.
"""

from __future__ import annotations

import codecs
import json
import re
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

__all__ = ["Client", "Error", "Pipeline", "ProtocolError", "ServerError"]

# Requests are sent in bursts of at most so many bytes, and a longer request is a burst of its own; the replies to one
# burst are read before the next. A server stops reading from a client that leaves replies unread, so whoever sends
# without end before reading waits for a server that waits for him. A burst of this size fits into the socket's buffers.
_BURST_BYTES = 16 << 10
_RECEIVE_BYTES = 64 << 10


class Error(Exception):
    """What is wrong with an answer. Trouble with the connection is an :class:`OSError`, as with any socket."""


class ServerError(Error):
    """The server understood nothing, or refused: out of memory, a password wanted, the value too large."""


class ProtocolError(Error):
    """What arrived is no answer of KV-Cache's JSON lines: most likely another kind of server is at this port."""


class Client:
    """One connection, opened by the first request and again after it has broken. For one thread at a time.

    ``timeout`` is how many seconds connecting may take, and how long the server may be silent in the middle of an
    answer; None waits for ever. After a :class:`TimeoutError` the connection is closed, so that a late answer is never
    taken for another request's.

    ``retries`` says how many times requests that a broken connection left unanswered are sent again, over a new one.
    They may then be executed twice, which changes nothing unless another client wrote the same key in between. 0
    forbids it.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 7171, *, timeout: float | None = 5.0, retries: int = 1) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout
        self.retries = retries
        self._socket: socket.socket | None = None
        self._replies = _Replies()

    def get(self, key: str) -> str | None:
        """The value of ``key``, or None where there is none."""
        return _value(self._one(_get(key)))

    def set(self, key: str, value: str) -> None:
        """Writes ``value`` under ``key``, whatever was there."""
        _value(self._one(_set(key, value)))

    def pipeline(self) -> Pipeline:
        """Requests that go out together: one round trip for many."""
        return Pipeline(self)

    def close(self) -> None:
        """Closes the connection. The next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Client:
        self._connected()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _one(self, request: bytes) -> dict[str, Any]:
        return self._exchange([request])[0]

    def _exchange(self, requests: Sequence[bytes]) -> list[dict[str, Any]]:
        """Sends encoded requests and returns their replies, in order."""
        answers: list[dict[str, Any]] = []
        breaks = 0
        while len(answers) < len(requests):
            try:
                self._burst(requests, answers)
            except ConnectionError:
                self.close()
                breaks += 1
                if breaks > self.retries:
                    raise
            except BaseException:
                # Replies may still be on their way: this connection's next reply would be another request's.
                self.close()
                raise
        return answers

    def _burst(self, requests: Sequence[bytes], answers: list[dict[str, Any]]) -> None:
        """Sends the first of the requests that have no answer, and appends the answers to these."""
        first = len(answers)
        last, size = first + 1, len(requests[first])
        while last < len(requests) and size + len(requests[last]) <= _BURST_BYTES:
            size += len(requests[last])
            last += 1
        connection = self._connected()
        connection.sendall(requests[first] if last == first + 1 else b"".join(requests[first:last]))
        while len(answers) < last:
            received = connection.recv(_RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError(f"{self.host}:{self.port} closed the connection")
            answers.extend(self._replies.feed(received))
        if len(answers) > last:
            raise ProtocolError("more replies than requests")

    def _connected(self) -> socket.socket:
        if self._socket is None:
            connection = socket.create_connection((self.host, self.port), self.timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._replies = _Replies()
            self._socket = connection
        return self._socket


class Pipeline:
    """Requests collected by :meth:`get` and :meth:`set`, sent by :meth:`execute`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._requests: list[bytes] = []

    def get(self, key: str) -> Pipeline:
        """Adds a read. Its result is the value, or None."""
        self._requests.append(_get(key))
        return self

    def set(self, key: str, value: str) -> Pipeline:
        """Adds a write. Its result is None."""
        self._requests.append(_set(key, value))
        return self

    def __len__(self) -> int:
        return len(self._requests)

    def execute(self) -> list[str | None]:
        """The results in order. The pipeline is empty afterwards and may be filled again.

        The requests are no transaction: each is executed whatever happened to the one before. If the server refused
        any, the first :class:`ServerError` is raised once all are answered.
        """
        requests, self._requests = self._requests, []
        return [_value(answer) for answer in self._client._exchange(requests)]


class _Replies:
    """Cuts a stream of JSON objects into objects, looking at each byte once however large an object is.

    An object that lies whole in one read, as nearly all do, is decoded where it lies. One that does not is kept in
    pieces; each new piece is searched for the closing brace, and the pieces are joined and decoded when it is there.
    """

    _decode = json.JSONDecoder().raw_decode
    _blank = re.compile(r"[ \t\r\n]*")
    _structure = re.compile(r'["{}]')
    # From within a string to its closing quote, the end of the text, or a backslash that ends the text.
    _in_string = re.compile(r'(?:[^"\\]+|\\.)*', re.DOTALL)

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._pieces: list[str] = []
        self._depth = 0
        self._string = False
        self._escaped = False

    def feed(self, received: bytes) -> Iterator[dict[str, Any]]:
        """Yields the objects that end within ``received``."""
        try:
            text = self._utf8.decode(received)
        except UnicodeDecodeError as error:
            raise ProtocolError(f"not UTF-8: {received[:80]!r}") from error
        at = 0
        while True:
            if not self._pieces:
                at = self._blank.match(text, at).end()  # type: ignore[union-attr]  # matches nothing, too
                if at == len(text):
                    return
                if text[at] != "{":
                    raise ProtocolError(f"not a JSON object: {text[at : at + 80]!r}")
                try:
                    answer, at = self._decode(text, at)
                except ValueError:
                    pass  # cut, or not JSON: the search for its end tells
                else:
                    yield answer
                    continue
            end = self._end(text, at)
            self._pieces.append(text[at:end])
            if end is None:
                return
            whole, self._pieces, at = "".join(self._pieces), [], end
            try:
                yield json.loads(whole)
            except ValueError as error:
                raise ProtocolError(f"not JSON: {whole[:80]!r}") from error

    def _end(self, text: str, at: int) -> int | None:
        """Where the object that is open ends in ``text``, read from ``at``; None: not here. Goes on where it left off."""
        if self._escaped and at < len(text):
            self._escaped = False
            at += 1
        while at < len(text):
            if self._string:
                at = self._in_string.match(text, at).end()  # type: ignore[union-attr]  # matches nothing, too
                if at < len(text):
                    self._string = False
                    if text[at] == "\\":
                        self._string = self._escaped = True
                    at += 1
                continue
            found = self._structure.search(text, at)
            if found is None:
                return None
            at = found.end()
            if found[0] == '"':
                self._string = True
            else:
                self._depth += 1 if found[0] == "{" else -1
                if self._depth == 0:
                    return at
        return None


# Text as it is rather than in \u escapes: shorter, and a lone surrogate, which no server could keep, fails here.
_quote = json.JSONEncoder(ensure_ascii=False).encode


def _get(key: str) -> bytes:
    return f'{{"key":{_quote(_text(key))}}}\n'.encode()


def _set(key: str, value: str) -> bytes:
    return f'{{"key":{_quote(_text(key))},"value":{_quote(_text(value))}}}\n'.encode()


def _text(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"keys and values are str, not {type(text).__name__}")
    return text


def _value(answer: dict[str, Any]) -> str | None:
    """The value that a reply carries, or None. Raises what it complains of."""
    if answer.get("status") == "OK":
        return answer.get("value")
    if answer.get("status") == "ERROR":
        raise ServerError(answer.get("message"))
    raise ProtocolError(f"neither OK nor ERROR: {json.dumps(answer)[:80]}")
