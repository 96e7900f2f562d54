"""Stores keys `key:000000000000` and up (16 bytes, as redis-benchmark names them): bench_fill.py PORT COUNT VALUE_SIZE"""

import socket
import sys

port, count, size = (int(argument) for argument in sys.argv[1:])
BATCH = 1_000
value = b"$%d\r\n%s\r\n" % (size, b"x" * size)
with socket.create_connection(("127.0.0.1", port)) as conn:
    for first in range(0, count, BATCH):
        keys = range(first, min(first + BATCH, count))
        conn.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n%s" % (key, value) for key in keys))
        answered = 0
        while answered < len(keys):
            received = conn.recv(1 << 16)
            assert received and b"-" not in received, received
            answered += received.count(b"+OK\r\n".rstrip(b"\r"))
