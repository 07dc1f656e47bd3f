"""Hello world beside something that gets in its way: a thread that runs Python all the time, or
files that must come from disk."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness.cases import BODY, COLD_FILES, FILE_SIZE, PINGS, USERS, Case
from harness.client import CLIENT_LIMIT, fetch, pinned, run_pull, run_wrk
from harness.hello import WARM_UP_SECONDS, check_answers, check_bytes
from harness.prepare import BUILD, FILES
from harness.process import Bench, Failed, Process, running
from harness.servers import Server
from harness.transfer import GIB, check_file

BURN_AROUND = 1.0  # seconds that the thread runs longer than the load
BURN_SEEN = 0.05  # seconds of CPU time by which it is known to run


# ---- a busy thread ------------------------------------------------------------------------------


@contextlib.contextmanager
def burning(process: Process, seconds: float) -> Iterator[list[float]]:
    """One thread of the server runs Python for so long. Afterwards the list holds the seconds of
    CPU time that it had."""
    used: list[float] = []
    failed: list[Failed] = []

    def ask() -> None:
        try:
            used.append(float(fetch(process.port, f"/burn?{seconds}", limit=4 * seconds)))
        except Failed as error:
            failed.append(error)

    before = process.cpu()
    thread = threading.Thread(target=ask)
    thread.start()
    while process.cpu() - before < BURN_SEEN and not failed:
        time.sleep(0.01)
    try:
        yield used
    finally:
        thread.join()
    if failed:
        raise failed[0]


def measure_busy(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    """The CPU time of an answer is without that of the busy thread."""
    seconds = max(bench.seconds, case.seconds)
    with running(bench, server, case) as process:
        size = check_answers(process.port, case)
        run_wrk(bench, process.port, case, WARM_UP_SECONDS)
        before = process.cpu()
        with burning(process, seconds + BURN_AROUND) as used:
            got = run_wrk(bench, process.port, case, seconds)
        cpu = process.cpu() - before - used[0]
    check_bytes(got, case, size)
    rate = got.requests / got.duration
    return {"cpu": cpu / got.requests * 1e6, "rate": rate, "p99": got.p99}


# ---- cold files ---------------------------------------------------------------------------------


def pages_held(path: Path) -> int:
    """How many pages of a file the kernel holds in memory, mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = path.stat().st_size
    held = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with path.open("rb") as file:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if at == ctypes.c_void_p(-1).value or libc.mincore(at, size, held) != 0:
        raise OSError(ctypes.get_errno(), "mmap, mincore")
    libc.munmap(at, size)
    return sum(byte & 1 for byte in held.raw[:-1])


def make_cold(path: Path) -> None:
    """Has the kernel forget a file, as drop_caches does for all of them, and without being root."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if held := pages_held(path):
        raise Failed(f"{held} pages of a file stay in memory")


@contextlib.contextmanager
def pinging(bench: Bench, port: int) -> Iterator[dict[str, float]]:
    """Asks for hello world at a fixed pace. Afterwards the dict holds what ping.c printed."""
    got: dict[str, float] = {}
    ping = str(BUILD / "benchmarks" / "ping")
    argv = pinned(bench, ping, str(port), str(USERS), str(PINGS))
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield got
        process.terminate()
        out, err = process.communicate(timeout=CLIENT_LIMIT)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise Failed(err.strip())
    got.update(json.loads(out))


def measure_cold(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    names = [str(number) for number in range(COLD_FILES)]
    with running(bench, server, case) as process:
        if fetch(process.port, "/") != BODY:
            raise Failed("answered hello world wrongly")
        check_file(process.port, "0")
        for name in names:
            make_cold(FILES / name)
        before = process.cpu()
        with pinging(bench, process.port) as pings:
            got = run_pull(bench, process.port, case, 0, *(f"/files/{name}" for name in names))
        cpu = process.cpu() - before
    if got.bytes != COLD_FILES * FILE_SIZE:
        raise Failed(f"sent {got.bytes} bytes as {COLD_FILES} files of {FILE_SIZE}")
    return {
        **pings,
        "cpu_gib": cpu / got.bytes * GIB,
        "rate_mb": got.bytes / got.seconds / 1e6,
    }
