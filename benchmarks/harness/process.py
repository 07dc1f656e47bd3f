"""One server process: started on its core, asked for CPU time and memory, ended by its pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.cases import Server, Workload
from harness.prepare import BUILD, ROOT, WORK

START_LIMIT = 20.0  # seconds
STOP_LIMIT = 3.0


class Failed(Exception):
    """A server did not do what it must; says what."""


@dataclass(frozen=True)
class Process:
    pid: int
    port: int  # on 127.0.0.1

    def cpu(self) -> float:
        """Seconds of CPU time of all its threads, user and system, since its start.

        The kernel's nanosecond clock of the process, clock_getcpuclockid(3). /proc/PID/stat tells
        the same sum in ticks of 10 ms, and /proc/PID/schedstat that of the first thread alone.
        """
        clock = ctypes.c_int()
        error = ctypes.CDLL(None).clock_getcpuclockid(self.pid, ctypes.byref(clock))
        if error != 0:
            raise Failed(f"has ended ({os.strerror(error)})")
        return time.clock_gettime(clock.value)

    def resident(self) -> int:
        """Bytes of resident memory: smaps_rollup is exact, where statm may lag behind."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        kib = re.findall(r"^Rss:\s+(\d+) kB", text, re.M)
        return int(kib[0]) * 1024

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.01)
    raise Failed(f"does not listen after {START_LIMIT:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(
    server: Server, workload: Workload, python: Path, core: int, *more: str
) -> Iterator[Process]:
    """The server, listening, until the end of the block. What it prints goes to NAME.log."""
    port = free_port()
    here = ROOT / "benchmarks"
    names = {"build": BUILD, "here": here, "python": python, "port": port, "limit": workload.limit}
    # taskset replaces itself by the server, which so has the pid that is known here.
    argv = ["taskset", "-c", str(core), *(part.format(**names) for part in server.argv), *more]
    with (WORK / f"{server.name}.log").open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for_port(process, port)
        yield Process(process.pid, port)
    finally:
        stop(process)
