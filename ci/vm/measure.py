"""The measurements of ci/vm/measure.sh, which makes the network for them: measure.py idle|loss|window|storm|ports|pages.

Variants of a measurement take turns, in a new random order each round. A figure is the median over the rounds, with quartiles.
"""

import atexit
import contextlib
import ctypes
import json
import os
import random
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TAG = os.environ["KV_MEASURE_TAG"]
SERVER, BENCH = os.environ["KV_MEASURE_SERVER"], os.environ["KV_MEASURE_BENCH"]
NETEM = bool(os.environ.get("KV_MEASURE_NETEM"))
LINES = []  # the process that stands for netem
ADDRESS, PORT = "10.9.1.1", 7171
# Ours, and Linux's own before 6.16.
OUR_RMEM, OUR_WMEM = "4096 131072 33554432", "4096 16384 16777216"
WINDOW_RTT_MS = 100
OLD_RMEM, OLD_WMEM = "4096 131072 6291456", "4096 16384 4194304"


def rounds(usual):
    return int(os.environ.get("KV_MEASURE_ROUNDS", usual))


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def inside(name, *command):
    return ["ip", "netns", "exec", TAG + name, *command]


def sysctl(name, key, value):
    run(*inside(name, "sysctl", "-qw", f"{key}={value}"))


def enter(name):
    """From here on this process is in that namespace."""
    with open(f"/run/netns/{TAG}{name}") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):
            raise SystemExit(f"setns: {os.strerror(ctypes.get_errno())}")


def path(rtt_ms, loss_percent=0.0, rate_mbit=0, whole_packets=True, mtu=1500):
    """Half of the round trip in each direction; loss and rate on the way to the client."""
    if not NETEM:
        return line(rtt_ms, loss_percent, rate_mbit, mtu)
    there = ["netem", "limit", "200000", "delay", f"{rtt_ms / 2}ms"]
    back = list(there)
    if loss_percent:
        back += ["loss", f"{loss_percent}%"]
    if rate_mbit:
        back += ["rate", f"{rate_mbit}mbit"]
    run(*inside("r", "tc", "qdisc", "replace", "dev", "server", "root", *there))
    run(*inside("r", "tc", "qdisc", "replace", "dev", "client", "root", *back))
    # netem loses what it is given: with segmentation offload that would be 64 KB at a time, which no wire loses.
    for name, device in (("s", "toward"), ("r", "server"), ("r", "client"), ("c", "toward")):
        state = "off" if whole_packets else "on"
        run(*inside(name, "ethtool", "-K", device, "tso", state, "gso", state, "gro", state), check=False)
        run(*inside(name, "ip", "link", "set", device, "mtu", str(mtu)))


def line(rtt_ms, loss_percent, rate_mbit, mtu):
    """The same without netem."""
    for process in LINES:
        process.kill()
        process.wait()
    LINES.clear()
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "line.py"), TAG + "s", TAG + "c"]
    process = subprocess.Popen(command + [str(value) for value in (rtt_ms, loss_percent, rate_mbit, mtu)], stdout=subprocess.PIPE)
    LINES.append(process)
    atexit.register(process.kill)
    if process.stdout.readline() != b"ready\n":
        raise SystemExit("there is no line")


@contextlib.contextmanager
def server(*options, memory="256MB", namespace="s"):
    command = [SERVER, "--port", str(PORT), "--protected-mode", "no", "--threads", "1", "--no-pin", "--max-memory", memory, *options]
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        # It says when it is ready, as to a service manager; what it says later goes to nobody.
        manager.bind(f"{folder}/notify")
        manager.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"}
        process = subprocess.Popen(inside(namespace, *command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            said = b""
            while b"READY=1" not in said:
                said = manager.recv(4096)
                if b"ERRNO=" in said:
                    raise SystemExit(said.decode())
            manager.close()
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait()


def bench(*options, server_pid=None):
    with tempfile.NamedTemporaryFile() as figures:
        command = [BENCH, "run", "--target", f"{ADDRESS}:{PORT}", "--json", figures.name, *options]
        if server_pid:
            command += ["--server-pid", str(server_pid)]
        run(*inside("c", *command))
        return json.load(open(figures.name))


def spread(figures, scale=1.0, digits=1):
    figures = sorted(figure * scale for figure in figures)
    if len(figures) < 2:
        return f"{figures[0]:.{digits}f}"
    low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def turns(variants, count):
    """Each variant once per round, in a new order."""
    for _ in range(count):
        order = list(variants)
        random.shuffle(order)
        yield from order


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def table(title, *heads):
    print(f"{title}; Linux {os.uname().release}\n", flush=True)
    row(*heads)
    row(*["---"] + ["---:"] * (len(heads) - 1))


class Client:
    """One connection, in RESP."""

    def __init__(self):
        self.socket = socket.create_connection((ADDRESS, PORT), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(parts))

    def take(self, size):
        """Seconds until so many bytes are there."""
        began, left = time.monotonic(), size
        while left:
            got = len(self.socket.recv(min(left, 1 << 20)))
            if not got:
                raise SystemExit("the server has closed the connection")
            left -= got
        return time.monotonic() - began

    def get(self, key, size):
        self.ask("GET", key)
        return self.take(len(b"$%d\r\n" % size) + size + 2)


def idle():
    """The first reply after a pause, by tcp_slow_start_after_idle."""
    variants = [("cubic", 1), ("cubic", 0), ("bbr", 1)]
    table(
        f"First reply after 1.5 s of silence, ms, {rounds(11)} rounds",
        "round trip, value",
        *[f"{control}, `tcp_slow_start_after_idle` = {setting}" for control, setting in variants],
    )
    enter("c")
    with server():
        for rtt_ms in (20, 50):
            # Nothing is lost here, so packets may be as large as the kernel makes them.
            path(rtt_ms, whole_packets=False)
            for size in (8 << 10, 256 << 10, 1 << 20):
                clients = {}
                for control in ("cubic", "bbr"):
                    sysctl("s", "net.ipv4.tcp_congestion_control", control)
                    clients[control] = Client()
                    # The server's socket is made with the handshake's last packet, and takes what is set then.
                    clients[control].ask("PING")
                    clients[control].take(len(b"+PONG\r\n"))
                clients["cubic"].ask("SET", "k", bytes(size))
                clients["cubic"].take(len(b"+OK\r\n"))
                times = {variant: [] for variant in variants}
                for control, setting in turns(variants, rounds(11)):
                    sysctl("s", "net.ipv4.tcp_slow_start_after_idle", setting)
                    for _ in range(5):
                        clients[control].get("k", size)
                    # The silence whose end is measured.
                    if select.select([clients[control].socket], [], [], 1.5)[0]:
                        raise SystemExit("the connection is not silent")
                    times[control, setting].append(clients[control].get("k", size))
                row(f"{rtt_ms} ms, {size >> 10} KiB", *[spread(times[variant], 1000) for variant in variants])


def loss():
    """Throughput over a path that loses packets, by congestion control."""
    variants = {"cubic": ("cubic", "noqueue"), "BBR without `fq`": ("bbr", "noqueue"), "BBR with `fq`": ("bbr", "fq")}
    if subprocess.run(inside("s", "tc", "qdisc", "add", "dev", "lo", "root", "fq"), capture_output=True).returncode:
        del variants["BBR with `fq`"]  # not with this kernel
    seconds = 6
    table(
        f"GETs of 256 KiB, pipeline 4, 40 Mbit/s at most, Mbit/s, {rounds(7)} rounds of {seconds} s",
        "round trip, connections, packets lost", *variants,
    )
    with server():
        preload = ["--preload"]
        for rtt_ms, connections in ((20, 1), (80, 4)):
            for percent in (0, 0.1, 1):
                path(rtt_ms, percent, 40)
                rates = {variant: [] for variant in variants}
                for variant in turns(variants, rounds(7)):
                    control, queue = variants[variant]
                    sysctl("s", "net.ipv4.tcp_congestion_control", control)
                    if NETEM:
                        run(*inside("s", "tc", "qdisc", "replace", "dev", "toward", "root", queue))
                    load = ["--ratio", "1:0", "--keys", "20", "--value-size", "256KiB", "-P", "4"]
                    figures = bench(*load, "-c", str(connections), "--duration", f"{seconds}s", *preload)
                    preload = []
                    rates[variant].append(figures["requests"] / figures["elapsed_s"] * (256 << 10) * 8 / 1e6)
                row(f"{rtt_ms} ms, {connections}, {percent} %", *[spread(rates[variant]) for variant in variants])


def window():
    """What one connection carries over a long path, by the ceilings of its buffers."""
    variants = {
        "Linux's before 6.16": (OLD_RMEM, OLD_WMEM, OLD_RMEM, OLD_WMEM),
        "ours at the server": (OUR_RMEM, OUR_WMEM, OLD_RMEM, OLD_WMEM),
        "ours at both": (OUR_RMEM, OUR_WMEM, OUR_RMEM, OUR_WMEM),
    }
    table(f"One connection, values of 32 MiB, round trip of {WINDOW_RTT_MS} ms, packets of 9,001 bytes, Mbit/s, {rounds(5)} rounds of 12 s", "direction", *variants)
    sysctl("s", "net.ipv4.tcp_congestion_control", "cubic")
    sysctl("c", "net.ipv4.tcp_congestion_control", "cubic")
    with server(memory="1GB"):
        # As large as the kernel makes them here too, and no rate but what the machine can do.
        path(WINDOW_RTT_MS, whole_packets=False, mtu=9001)
        bench("--ratio", "1:0", "--keys", "3", "--value-size", "32MiB", "-c", "1", "--requests", "1", "--preload")
        for direction, ratio in (("GET", "1:0"), ("SET", "0:1")):
            rates = {variant: [] for variant in variants}
            for variant in turns(variants, rounds(5)):
                server_rmem, server_wmem, client_rmem, client_wmem = variants[variant]
                for name, rmem, wmem in (("s", server_rmem, server_wmem), ("c", client_rmem, client_wmem)):
                    sysctl(name, "net.ipv4.tcp_rmem", rmem)
                    sysctl(name, "net.ipv4.tcp_wmem", wmem)
                figures = bench("--ratio", ratio, "--keys", "3", "--value-size", "32MiB", "-c", "1", "--duration", "12s")
                rates[variant].append(figures["requests"] / figures["elapsed_s"] * (32 << 20) * 8 / 1e6)
            row(direction, *[spread(rates[variant]) for variant in variants])


def counter(name, key):
    """One of the kernel's counters of TCP, in that namespace."""
    words = run(*inside(name, "cat", "/proc/net/netstat")).split("\n")
    for heads, values in zip(words[::2], words[1::2]):
        heads = heads.split()
        if key in heads:
            return int(values.split()[heads.index(key)])
    return 0


def burst(count, limit_s=20):
    """So many connections at once, each with a PING: seconds until each was answered, and how many were not."""
    poll, waiting, answered = select.epoll(), {}, []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        began = time.monotonic()
        one.connect_ex((ADDRESS, PORT))
        poll.register(one.fileno(), select.EPOLLOUT)
        waiting[one.fileno()] = (one, began)
    failed, until = 0, time.monotonic() + limit_s
    while waiting and time.monotonic() < until:
        for fd, event in poll.poll(0.5, 4096):
            one, began = waiting[fd]
            try:
                if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                    one.send(b"PING\r\n")
                    poll.modify(fd, select.EPOLLIN)
                    continue
                if one.recv(64) == b"+PONG\r\n":
                    answered.append(time.monotonic() - began)
                else:
                    failed += 1
            except OSError:
                failed += 1
            poll.unregister(fd)
            waiting.pop(fd)[0].close()
    failed += len(waiting)
    for one, _ in waiting.values():
        one.close()
    return answered, failed


def storm():
    """Thousands of clients that connect at once, by somaxconn."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (16000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    table(
        f"5,000 connections at once, each sends PING; {rounds(9)} rounds",
        "server, `somaxconn`", "last answer, s", "slower than 0.9 s, of 5,000", "failed", "refused by the full queue (ListenOverflows)",
    )
    direct()
    enter("c")
    for stalled in (False, True):
        results = {value: [] for value in (128, 4096, 16384)}
        for value in turns(results, rounds(9)):
            sysctl("s", "net.core.somaxconn", value)
            with server("--max-clients", "10000", "--tcp-backlog", "16384") as process:
                before = counter("s", "ListenOverflows")
                if stalled:
                    process.send_signal(signal.SIGSTOP)
                    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {process.pid}"])
                answered, failed = burst(5000)
                slow = sum(1 for taken in answered if taken > 0.9)
                results[value].append((max(answered), slow, failed, counter("s", "ListenOverflows") - before))
        for value, figures in results.items():
            columns = list(zip(*figures))
            name = "stopped for 0.5 s" if stalled else "running"
            row(f"{name}, {value}", spread(columns[0], digits=2), *[spread(column, digits=0) for column in columns[1:]])


def reconnect(limit_s):
    """A client that opens a connection for each request and closes it first: how many it made in each second, and why it ended."""
    began, made = time.monotonic(), []
    while time.monotonic() - began < limit_s:
        second = int(time.monotonic() - began)
        made += [0] * (second + 1 - len(made))
        one = socket.socket()
        try:
            one.connect((ADDRESS, PORT))
        except OSError as error:
            one.close()
            return made, error.strerror
        one.send(b"PING\r\n")
        one.recv(64)
        one.close()
        made[-1] += 1
    return made, None


def direct():
    """Nothing between client and server; the router only passes on, where it has been made."""
    if NETEM:
        return path(0, whole_packets=False)
    for process in LINES:
        process.kill()
        process.wait()
    LINES.clear()
    run("ip", "-n", TAG + "s", "link", "del", "toward", check=False)
    run("ip", "-n", TAG + "s", "link", "add", "toward", "type", "veth", "peer", "name", "toward", "netns", TAG + "c")
    for name, ours, theirs in (("s", "10.9.1.1/24", "10.9.2.0/24"), ("c", "10.9.2.1/24", "10.9.1.0/24")):
        for words in (["addr", "add", ours, "dev", "toward"], ["link", "set", "toward", "up"], ["route", "add", theirs, "dev", "toward"]):
            run("ip", "-n", TAG + name, *words)


def fresh_client():
    """A namespace of its own each time: what waits in TIME-WAIT is not the next one's."""
    run("ip", "netns", "del", TAG + "c")
    run("ip", "netns", "add", TAG + "c")
    if not NETEM:
        return direct()
    client, router = ["ip", "-n", TAG + "c"], ["ip", "-n", TAG + "r"]
    run(*client, "link", "add", "toward", "type", "veth", "peer", "name", "client", "netns", TAG + "r")
    run(*router, "addr", "add", "10.9.2.2/24", "dev", "client")
    run(*router, "link", "set", "client", "up")
    run(*client, "addr", "add", "10.9.2.1/24", "dev", "toward")
    run(*client, "link", "set", "toward", "up")
    run(*client, "route", "add", "default", "via", "10.9.2.2")


def ports():
    """How long a client can go on that connects anew for each request."""
    variants = {
        "Linux's: 32768 to 60999, 2": ("32768 60999", 2),
        "range of ours: 16384 to 65535, 2": ("16384 65535", 2),
        "ours: 16384 to 65535, 1": ("16384 65535", 1),
    }
    limit_s = 58
    table(
        f"A client that connects anew for each request, for {limit_s} s (TIME-WAIT takes 60) or until it cannot",
        "`ip_local_port_range`, `tcp_tw_reuse`", "connections", "per second at first (median of 3 s)", "at the end (median of 10 s)", "then",
    )
    with server():
        for name, (ports, reuse) in variants.items():
            fresh_client()
            sysctl("c", "net.ipv4.ip_local_port_range", ports)
            sysctl("c", "net.ipv4.tcp_tw_reuse", reuse)
            made, error = fork(lambda: (enter("c"), reconnect(limit_s))[1])
            first, last = statistics.median(made[:3]), statistics.median(made[-11:-1] or made)
            row(name, f"{sum(made):,}", f"{first:,.0f}", f"{last:,.0f}", error or "goes on")


def fork(function):
    """In a child, whose namespace is not ours."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps(function()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return json.loads(os.read(reader, 65536))


def pages():
    """Throughput and memory by transparent huge pages."""
    modes = ("never", "madvise", "always")
    table(
        f"4 M keys, values of 64 B, reads only, uniform, 50 connections, pipeline 16; {rounds(9)} rounds of 4 s",
        "transparent huge pages", "requests per CPU-second of the server", "by that of `never` in the same round", "RSS, MB", "of it huge, MB",
    )
    figures = {mode: [] for mode in modes}
    for mode in turns(modes, rounds(9)):
        with open("/sys/kernel/mm/transparent_hugepage/enabled", "w") as setting:
            setting.write(mode)
        with server(memory="1GB") as process:
            load = ["--ratio", "1:0", "--keys", "4M", "-c", "50", "-P", "16"]
            bench(*load, "--preload", "--requests", "1000")
            measured = bench(*load, "--duration", "4s", server_pid=process.pid)["server"]
            figures[mode].append((measured["requests_per_cpu_s"], measured["rss_bytes"] / 1e6, huge_of(process.pid)))
    for mode in modes:
        columns = list(zip(*figures[mode]))
        ratios = [ours / never for ours, never in zip(columns[0], list(zip(*figures["never"]))[0])]
        row(f"`{mode}`", spread(columns[0], 1e-6, 2) + " M", spread(ratios, digits=3) + " ×", spread(columns[1], digits=0), spread(columns[2], digits=0))


def huge_of(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("AnonHugePages:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


if __name__ == "__main__":
    {function.__name__: function for function in (idle, loss, window, storm, ports, pages)}[sys.argv[1]]()
