"""One server, of one process or several: started on its core, asked for CPU time and memory, ended
by its pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.cases import Case
from harness.prepare import BASE, BUILD, ROOT, WORK
from harness.servers import Server

START_LIMIT = 20.0  # seconds
STOP_LIMIT = 3.0
HERE = ROOT / "benchmarks"


class Failed(Exception):
    """A server did not do what it must; says what."""


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share."""

    python: Path
    server_core: int
    client_core: int
    seconds: int  # of one measurement under load


@dataclass(frozen=True)
class Process:
    pid: int
    port: int  # on 127.0.0.1

    def pids(self) -> list[int]:
        """The process and all that descend from it."""
        found = [self.pid]
        for pid in found:
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):  # a thread that has ended
                    found += map(int, path.read_text().split())
        return found

    def cpu(self) -> float:
        """Seconds of CPU time of all its threads and workers, user and system, since their start.

        The kernel's nanosecond clock of a process, clock_getcpuclockid(3). /proc/PID/stat tells
        the same sum in ticks of 10 ms, and /proc/PID/schedstat that of the first thread alone.
        """
        return sum(map(cpu_of, self.pids()))

    def resident(self) -> int:
        """Bytes of resident memory: smaps_rollup is exact, where statm may lag behind."""
        return sum(figure_of(pid, "smaps_rollup", "Rss") for pid in self.pids())

    def reset_peak(self) -> None:
        """Forgets peaks, proc_pid_clear_refs(5)."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most bytes of resident memory since reset_peak(); those of workers are added up."""
        return sum(figure_of(pid, "status", "VmHWM") for pid in self.pids())

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def cpu_of(pid: int) -> float:
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error != 0:
        raise Failed(f"has ended ({os.strerror(error)})")
    return time.clock_gettime(clock.value)


def figure_of(pid: int, name: str, label: str) -> int:
    """The bytes that a file of /proc/PID tells in kB."""
    try:
        text = Path(f"/proc/{pid}/{name}").read_text()
    except OSError as error:
        raise Failed(f"has ended ({error})") from error
    kib = re.findall(rf"^{label}:\s+(\d+) kB", text, re.M)
    return int(kib[0]) * 1024 if kib else 0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(process: subprocess.Popen[bytes], port: int, limit: float = START_LIMIT) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.01)
    raise Failed(f"does not listen after {limit:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends it, and what is left of its workers: it was started as a group of its own."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_LIMIT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_nginx_conf(port: int) -> Path:
    text = (HERE / "nginx.conf").read_text()
    for name, value in (("PORT", port), ("WORK", WORK)):
        text = text.replace(f"@{name}@", str(value))
    path = WORK / "nginx.conf"
    path.write_text(text)
    return path


@contextlib.contextmanager
def running(bench: Bench, server: Server, case: Case, *more: str) -> Iterator[Process]:
    """The server, listening, until the end of the block. What it prints goes to NAME.log."""
    port = free_port()
    names = {"build": BUILD, "here": HERE, "python": bench.python, "port": port}
    names |= {"limit": case.limit, "app": case.app, "conf": write_nginx_conf(port)}
    # taskset replaces itself by the server, which so has the pid that is known here.
    cores = f"{bench.server_core}" + (f",{bench.client_core}" if case.both_cores else "")
    argv = ["taskset", "-c", cores]
    argv += [*(part.format(**names) for part in server.argv), *more]
    paths = f"{BASE}{os.pathsep}{HERE}" if server.base else str(HERE)
    with (WORK / f"{server.name}.log").open("ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=HERE,
            env={**os.environ, "BENCH_ROOT": str(WORK), "PYTHONPATH": paths},
            start_new_session=True,
        )
    try:
        wait_for_port(process, port)
        yield Process(process.pid, port)
    finally:
        stop(process)
