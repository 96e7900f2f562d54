#!/usr/bin/env python3
"""Asks a server one thing in RESP and prints the answer: ask.py [-h HOST] [-p PORT] WORD...; for guests without redis-cli."""

import socket
import sys


def read(stream):
    """One reply, nested ones too, as text, lists and numbers."""
    line = stream.readline()
    if not line:
        raise SystemExit("the server has closed the connection")
    kind, rest = line[:1], line[1:].rstrip(b"\r\n").decode()
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else stream.read(size + 2)[:-2].decode(errors="replace")
    if kind == b"*":
        return [read(stream) for _ in range(int(rest))]
    if kind == b"-":
        raise SystemExit(f"error: {rest}")
    return rest


def main():
    words = sys.argv[1:]
    where = {"-h": "127.0.0.1", "-p": "7171"}
    while words and words[0] in where:
        where[words[0]] = words[1]
        words = words[2:]
    try:
        connection = socket.create_connection((where["-h"], int(where["-p"])), timeout=30)
    except OSError as error:
        raise SystemExit(f"cannot connect: {error}")
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        parts.append(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
    connection.sendall(b"".join(parts))
    answer = read(connection.makefile("rb"))
    print(answer if not isinstance(answer, list) else "\n".join(map(str, answer)))


if __name__ == "__main__":
    main()
