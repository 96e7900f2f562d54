"""What the Python scripts here share: steps that are named, checked, timed out, and reported as one JSON line each.

    client = Client("redis-py", redis.__version__, "Redis", mode="RESP3")

    @client.step("GET, SET EX")
    def get_set():
        assert ...

    finish()

A step runs where it is defined; one that fails is reported and the next one runs. `FEATURES` in ci/compatibility.py lists the names.
"""

import argparse
import asyncio
import inspect
import json
import signal
import sys
import threading
import traceback
from pathlib import Path

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--server", choices=["ours", "valkey", "memcached"], default="ours", help="what answers on the port")
arguments = arguments.parse_args()

PORT = arguments.port
ADDRESS = f"127.0.0.1:{PORT}"
OURS = arguments.server == "ours"
SECONDS = 20
SCRIPT = Path(sys.argv[0]).name

failures = 0
loop = asyncio.new_event_loop()


def timed_out(_signal, _frame):
    raise TimeoutError(f"no end after {SECONDS} s")


signal.signal(signal.SIGALRM, timed_out)

# A step whose threads end by an exception has failed.
of_threads: list[BaseException] = []
threading.excepthook = lambda event: of_threads.append(event.exc_value)


class Client:
    """A client, or one of its modes: a column of the table named."""

    def __init__(self, name: str, version, table: str, mode: str = ""):
        if isinstance(version, tuple):
            version = ".".join(map(str, version))
        self.title = f"{name} {version}" + (f" ({mode})" if mode else "")
        self.table = table

    def step(self, feature: str, only_ours: bool = False):
        """Runs the decorated function now, plain or async. `only_ours` leaves it out where another server answers."""

        def run(action):
            if only_ours and not OURS:
                return None
            of_threads.clear()
            signal.alarm(SECONDS)
            try:
                result = action()
                if inspect.iscoroutine(result):
                    loop.run_until_complete(result)
                for error in of_threads:
                    raise error
                self.report(feature)
            except Exception as error:
                self.report(feature, error)
            finally:
                signal.alarm(0)
            return action

        return run

    def report(self, feature: str, error: Exception | None = None) -> None:
        global failures
        line = {"table": self.table, "client": self.title, "feature": feature, "ok": error is None}
        if error is not None:
            failures += 1
            mine = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == SCRIPT]
            at = f"line {mine[-1].lineno}: {mine[-1].line}" if mine else ""
            line["error"] = f"{type(error).__name__}: {error} ({at})"
        print(json.dumps(line), flush=True)


def raises(kind, action) -> Exception:
    """The error that the action must end with."""
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"no {kind} was raised")


def equal(got, wanted) -> None:
    assert got == wanted, f"wanted {wanted!r:.200}, got {got!r:.200}"


def finish() -> None:
    sys.exit(1 if failures else 0)
