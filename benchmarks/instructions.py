#!/usr/bin/env python3
"""Counts the user-mode instructions of a hello world, with and without ContinuationMiddleware:
python3 benchmarks/instructions.py

Unlike time, instructions hold still on a machine that has other work. callgrind runs the server
once for each of two numbers of requests; their difference has no start in it. There is no access
log. The clients are some kept-alive connections of this process, each with a request at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import prepare
from harness.cases import BODY, POLL_FIELDS, Case
from harness.client import Client, request_bytes
from harness.process import HERE, Failed, free_port, stop, wait_for_port
from harness.servers import SERVERS

NAMES = ("meinheld", "meinheld_middleware")
CONNECTIONS = 50
FEW = 2000  # requests: after so many the interpreter has specialised what it will
MANY = FEW + 10_000
LIMIT = 120  # seconds to start, and to stop
FIELDS = Case("", "", "", (), (), fields=(*POLL_FIELDS, ("DNT", "1")))  # 8 with Host


def ask(port: int, requests: int) -> None:
    """So many hello worlds."""
    request = request_bytes(FIELDS)
    with contextlib.ExitStack() as stack:
        connect = [contextlib.closing(Client(port)) for _ in range(CONNECTIONS)]
        clients = [stack.enter_context(client) for client in connect]
        for _ in range(requests // CONNECTIONS):
            for client in clients:
                client.send(request)
            for client in clients:
                if client.answer()[0] != BODY:
                    raise Failed("answered hello world wrongly")


def count(python: Path, name: str, requests: int) -> int:
    """The instructions of a server that answers so many."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        argv = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        argv += [f"{python}", f"{HERE / 'serve.py'}", name, "hello", f"{port}"]
        # With a hash seed of its own each run would have other collisions; and if the first wrote
        # byte code, its start would cost more than that of the others.
        env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(argv, env=env, start_new_session=True)
        try:
            wait_for_port(process, port, LIMIT)
            ask(port, requests)
            process.terminate()
            process.wait(LIMIT)
            found = re.findall(r"^totals: (\d+)", out.read_text(), re.M)
        finally:
            stop(process)
    if len(found) != 1:
        raise Failed("was not counted")
    return int(found[0])


def main() -> int:
    parser = argparse.ArgumentParser(description="Counts the instructions of a hello world.")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    args = parser.parse_args()
    prepare.make_work_folder()
    python = prepare.make_venv(args.python, [s for s in SERVERS if s.name in NAMES])
    found = []
    for name in NAMES:
        few, many = (count(python, name, requests) for requests in (FEW, MANY))
        found.append((many - few) / (MANY - FEW))
        print(f"{name}: {found[-1]:,.0f} instructions a request", flush=True)
    print(f"ContinuationMiddleware: {found[1] / found[0] - 1:+.1%}; the target is +3.0%")
    return 0


if __name__ == "__main__":
    sys.exit(main())
