"""Tests of the client: its framing by itself, its habits against a scripted server, and all of it against kv-server.

    python -m unittest discover sdk/python

The binary is $KV_SERVER, or else target/release/kv-server or target/debug/kv-server of this clone.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import threading
import unittest
from collections.abc import Callable
from pathlib import Path

from kv_cache import Client, ProtocolError, ServerError, _Replies

STORED = '{"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}'


def found(value: str) -> str:
    return json.dumps({"status": "OK", "message": "", "key": "k", "value": value}, ensure_ascii=False)


class Framing(unittest.TestCase):
    VALUES = ("", "{", '}"{', "\\", '\\"', "\\\\", "é😀", "line\nline", '{"a": ["}"]}', "\\" * 7 + '"')

    def test_cut_at_every_byte(self) -> None:
        answers = [json.loads(found(value)) for value in self.VALUES]
        stream = "".join(found(value) for value in self.VALUES).encode()
        for cut in range(len(stream) + 1):
            replies = _Replies()
            heard = [*replies.feed(stream[:cut]), *replies.feed(stream[cut:])]
            self.assertEqual(heard, answers, f"cut at {cut}")

    def test_byte_by_byte_and_in_random_pieces(self) -> None:
        answers = [json.loads(found(value)) for value in self.VALUES]
        stream = "\r\n ".join(found(value) for value in self.VALUES).encode()
        for seed in range(200):
            dice, replies, at = random.Random(seed), _Replies(), 0
            heard: list[object] = []
            longest = dice.choice([1, 2, 3, 10, 100])
            while at < len(stream):
                piece = dice.randint(1, longest)
                heard += replies.feed(stream[at : at + piece])
                at += piece
            self.assertEqual(heard, answers, f"seed {seed}")

    def test_an_object_comes_out_with_its_last_byte(self) -> None:
        replies = _Replies()
        self.assertEqual(list(replies.feed(STORED[:-1].encode())), [])
        self.assertEqual(list(replies.feed(STORED[-1:].encode())), [json.loads(STORED)])

    def test_what_is_no_answer(self) -> None:
        for text in [b"-ERR max number of clients reached\r\n", b"[1]", b"HTTP/1.1 400", b"{]}", b"{\xff}", b'{"a":}']:
            with self.assertRaises(ProtocolError, msg=text):
                list(_Replies().feed(text))
            with self.assertRaises(ProtocolError, msg=text):
                replies = _Replies()
                for byte in text:
                    list(replies.feed(bytes([byte])))


class ScriptedServer:
    """Plays one scene per connection, in order: each is a function of the accepted socket, which is closed after it."""

    def __init__(self, *scenes: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._play, args=(scenes,), daemon=True)

    def _play(self, scenes: tuple[Callable[[socket.socket], None], ...]) -> None:
        for scene in scenes:
            connection, _ = self._listener.accept()
            with connection:
                scene(connection)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        self._listener.close()


def read_lines(connection: socket.socket, count: int) -> None:
    received = b""
    while received.count(b"\n") < count:
        received += connection.recv(4096)


class Habits(unittest.TestCase):
    def test_a_broken_connection_is_made_anew(self) -> None:
        def hang_up(connection: socket.socket) -> None:
            read_lines(connection, 1)

        def answer(connection: socket.socket) -> None:
            read_lines(connection, 1)
            connection.sendall(found("v").encode())

        with ScriptedServer(hang_up, answer) as server, Client(port=server.port) as cache:
            self.assertEqual(cache.get("k"), "v")

    def test_only_what_has_no_answer_is_sent_again(self) -> None:
        heard: list[bytes] = []

        def answer_two(connection: socket.socket) -> None:
            read_lines(connection, 3)
            connection.sendall((found("1") + found("2") + found("3")[:-1]).encode())

        def answer_the_rest(connection: socket.socket) -> None:
            heard.append(connection.recv(4096))
            connection.sendall(found("3").encode())

        with ScriptedServer(answer_two, answer_the_rest) as server, Client(port=server.port) as cache:
            self.assertEqual(cache.pipeline().get("a").get("b").get("c").execute(), ["1", "2", "3"])
        self.assertEqual(heard, [b'{"key":"c"}\n'])

    def test_no_retry_where_none_is_wanted(self) -> None:
        def hang_up(connection: socket.socket) -> None:
            read_lines(connection, 1)

        with ScriptedServer(hang_up) as server, Client(port=server.port, retries=0) as cache:
            self.assertRaises(ConnectionError, cache.get, "k")

    def test_a_late_answer_is_never_anothers(self) -> None:
        asked_again = threading.Event()

        def stay_silent(connection: socket.socket) -> None:
            asked_again.wait(30)

        def answer(connection: socket.socket) -> None:
            read_lines(connection, 1)
            connection.sendall(found("second").encode())

        with ScriptedServer(stay_silent, answer) as server, Client(port=server.port, timeout=0.05) as cache:
            with self.assertRaises(TimeoutError):
                cache.get("first")
            asked_again.set()
            cache.timeout = 30
            self.assertEqual(cache.get("k"), "second")

    def test_an_answer_that_was_not_asked_for(self) -> None:
        def answer_twice(connection: socket.socket) -> None:
            read_lines(connection, 1)
            connection.sendall((found("1") + found("2")).encode())

        with ScriptedServer(answer_twice) as server, Client(port=server.port) as cache, self.assertRaises(ProtocolError):
            cache.get("k")

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with self.assertRaises(ConnectionRefusedError):
            Client(port=port).get("k")


def server_binary() -> Path:
    target = Path(__file__).parents[2] / "target"
    candidates = [Path(os.environ["KV_SERVER"])] if "KV_SERVER" in os.environ else []
    candidates += [target / "release/kv-server", target / "debug/kv-server"]
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError("no kv-server: run `cargo build --release`, or name one by KV_SERVER")


class RealServer(unittest.TestCase):
    server: subprocess.Popen[str]
    port: int
    OPTIONS = "--bind 127.0.0.1 --admin-port 0 --threads 1 --no-pin --max-memory 512MB"

    @classmethod
    def setUpClass(cls) -> None:
        cls.server, cls.port = cls.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stop(cls.server)

    @classmethod
    def start(cls, *options: str, port: int = 0) -> tuple[subprocess.Popen[str], int]:
        """A server, and the port it listens on: a free one unless told."""
        command = [str(server_binary()), "--port", str(port), *cls.OPTIONS.split(), *options]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert server.stdout is not None
        said, listening = "", None
        for line in server.stdout:
            said += line
            listening = listening or re.search(r"listen +\S+:(\d+)", line)
            if listening and line.startswith("Ready"):
                # What it says later is little: the pipe holds it.
                return server, int(listening[1])
        cls.stop(server)
        raise RuntimeError(f"the server did not start:\n{said}")

    @staticmethod
    def stop(server: subprocess.Popen[str]) -> None:
        server.terminate()
        server.wait(60)
        if server.stdout is not None:
            server.stdout.close()

    def client(self) -> Client:
        client = Client(port=self.port, timeout=60)
        self.addCleanup(client.close)
        return client

    def test_get_and_set(self) -> None:
        cache = self.client()
        self.assertIsNone(cache.get("nowhere"))
        cache.set("city", "Paris")
        self.assertEqual(cache.get("city"), "Paris")
        cache.set("city", "Ulm")
        self.assertEqual(cache.get("city"), "Ulm")

    def test_any_text(self) -> None:
        cache = self.client()
        everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000, 97)]))
        for text in ["", " ", "\0", '"', "\\", "{}", "null", "é😀\u2028", "\r\n", everything]:
            key = f"any:{text[:100]}"
            cache.set(key, text)
            self.assertEqual(cache.get(key), text)

    def test_any_size(self) -> None:
        cache = self.client()
        for size in [1, 100, 16 << 10, (64 << 10) - 1, 1 << 20, 10 << 20, 100 << 20]:
            # The largest only as it is: the server has room for fewer bytes that must be escaped.
            for pattern in ["x", '{"é": "\\"}\n', "\\"][: 1 if size > 10 << 20 else 3]:
                value = (pattern * (size // len(pattern) + 1))[:size]
                cache.set("sized", value)
                self.assertTrue(cache.get("sized") == value, f"{size} bytes of {pattern!r}")

    def test_a_pipeline_of_small_requests(self) -> None:
        pipe = self.client().pipeline()
        for i in range(10_000):
            pipe.set(f"p:{i}", f"v:{i}").get(f"p:{i}").get(f"missing:{i}")
        self.assertEqual(len(pipe), 30_000)
        expected = [result for i in range(10_000) for result in (None, f"v:{i}", None)]
        self.assertEqual(pipe.execute(), expected)
        self.assertEqual((len(pipe), pipe.execute()), (0, []))

    def test_a_pipeline_whose_requests_and_replies_fill_all_buffers(self) -> None:
        values = [chr(97 + i) * (1 << 20) for i in range(26)]
        pipe = self.client().pipeline()
        for round_ in range(4):
            for i, value in enumerate(values):
                pipe.set(f"big:{i}", value).get(f"big:{(i * 7) % 26}" if round_ else f"big:{i}")
        results = pipe.execute()
        self.assertEqual(len(results), 4 * 26 * 2)
        self.assertTrue(results[1::2] == values + [values[(i * 7) % 26] for _ in range(3) for i in range(26)])

    def test_what_the_server_refuses(self) -> None:
        cache = self.client()
        with self.assertRaises(ServerError):
            cache.set("k" * 70_000, "the key is too long")
        cache.set("k", "and the connection goes on")
        self.assertEqual(cache.get("k"), "and the connection goes on")
        with self.assertRaises(ServerError):
            cache.pipeline().set("before", "1").set("k" * 70_000, "").set("after", "2").execute()
        self.assertEqual((cache.get("before"), cache.get("after")), ("1", "2"))

    def test_what_is_no_text(self) -> None:
        cache = self.client()
        for key, value in [("k", 5), ("k", None), (b"k", "v")]:
            with self.assertRaises(TypeError):
                cache.set(key, value)  # type: ignore[arg-type]
        with self.assertRaises(UnicodeEncodeError):
            cache.set("k", "\ud800")

    def test_a_server_that_wants_a_password(self) -> None:
        server, port = self.start("--requirepass", "secret")
        self.addCleanup(self.stop, server)
        with Client(port=port, timeout=60) as cache, self.assertRaisesRegex(ServerError, "(?i)auth"):
            cache.get("k")

    def test_a_restart_between_two_requests(self) -> None:
        server, port = self.start()
        with Client(port=port, timeout=60) as cache:
            cache.set("k", "before")
            self.stop(server)
            server, _ = self.start(port=port)
            self.addCleanup(self.stop, server)
            self.assertIsNone(cache.get("k"), "a new server begins empty")

    def test_closing_and_going_on(self) -> None:
        cache = self.client()
        cache.set("k", "v")
        cache.close()
        cache.close()
        self.assertEqual(cache.get("k"), "v")


if __name__ == "__main__":
    unittest.main()
