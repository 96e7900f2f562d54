"""A path with a delay, for kernels without netem: two TUN devices in two network namespaces, and this process between them.

line.py NAMESPACE NAMESPACE RTT_MS LOSS_PERCENT RATE_MBIT|0 MTU. Half of the round trip in each direction; loss and rate are of what the
first namespace sends. It says `ready` when packets can go. A packet waits in a queue until it is due; time is read for each.
"""

import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000


def device(namespace):
    """The TUN device `toward`, made in that namespace."""
    with open(f"/run/netns/{namespace}") as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
            raise SystemExit(f"setns: {os.strerror(ctypes.get_errno())}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"toward", IFF_TUN | IFF_NO_PI))
    return tun


def main():
    first, second = sys.argv[1:3]
    delay, loss, rate, mtu = float(sys.argv[3]) / 2000, float(sys.argv[4]) / 100, float(sys.argv[5]) * 1e6 / 8, int(sys.argv[6])
    ends = [device(first), device(second)]
    for namespace, address, route in ((first, "10.9.1.1/24", "10.9.2.0/24"), (second, "10.9.2.1/24", "10.9.1.0/24")):
        for command in (f"addr add {address} dev toward", f"link set toward mtu {mtu} txqueuelen 20000 up", f"route add {route} dev toward"):
            if os.system(f"ip -n {namespace} {command}"):
                raise SystemExit(1)
    print("ready", flush=True)

    other = {ends[0]: ends[1], ends[1]: ends[0]}
    under_way = {end: collections.deque() for end in ends}
    free_at = 0.0  # when the line from the first to the second has sent what it was given
    while True:
        now = time.monotonic()
        wait = 1.0
        for source, queue in under_way.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(other[source], queue.popleft()[1])
                except OSError:
                    pass  # the device's queue is full: lost, as on a wire
            if queue:
                wait = min(wait, queue[0][0] - now)
        for source in select.select(ends, [], [], max(wait, 0))[0]:
            for _ in range(64):
                try:
                    packet = os.read(source, 65536)
                except BlockingIOError:
                    break
                due = time.monotonic()
                if source == ends[0]:
                    if loss and random.random() < loss:
                        continue
                    if rate:
                        free_at = max(free_at, due) + len(packet) / rate
                        due = free_at
                under_way[source].append((due + delay, packet))


if __name__ == "__main__":
    main()
