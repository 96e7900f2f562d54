#!/usr/bin/env python3
"""Connects to a port again and again until it is told to end, and counts: storm.py PORT PAUSE. Each connection must answer PING."""

import signal
import socket
import sys
import threading
import time

counts = {"answered": 0, "refused": 0, "broken": 0}
longest = 0.0
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
port, pause = int(sys.argv[1]), float(sys.argv[2])
while not ended.wait(pause):
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"PING\r\n")
            counts["answered" if connection.recv(64).startswith(b"+PONG") else "broken"] += 1
    except ConnectionRefusedError:
        counts["refused"] += 1
    except OSError:
        counts["broken"] += 1
    longest = max(longest, time.monotonic() - began)
for name, count in counts.items():
    print(name, count)
print(f"longest wait {longest:.2f} s")
