#!/usr/bin/env python3
"""Measures this project's servers beside a limit and their peers: python3 benchmarks/run.py

The figure to trust is the CPU time that the server's process takes for an answer, and its ratio to
that of the limit (C) or of the best peer (Python) in the same run. It holds still where answers a
second do not: on a machine that has other work, and where the client is the slower one. The server
has one core and the client another. Rounds are interleaved: each workload with each server in turn,
then all again, each measurement on a fresh process; medians are shown.

What is needed is put into .build/bench of the checkout; only what Debian must bring is asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import prepare
from harness.cases import IDLE_CONNECTIONS, SERVERS, WORKLOADS, Server, Workload
from harness.measure import Bench, Idle, Load, measure
from harness.process import Failed
from harness.report import table

Results = dict[tuple[str, str], "list[Load | Idle] | str"]  # by workload and server; or why not


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures this project's servers and their peers.")
    names = ", ".join(x.name for x in (*WORKLOADS, *SERVERS))
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=int, default=3, metavar="S", help="of each measurement")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"of {names}")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="runs the WSGI ones"
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write PATH.md and PATH.json too")
    args = parser.parse_args()
    unknown = set(args.only) - {x.name for x in (*WORKLOADS, *SERVERS)}
    if unknown:
        parser.error(f"--only: no workload or server is called {', '.join(sorted(unknown))}")
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    return args


def pick_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("benchmarks: the server and its client need a core each, and here is one in all")
    return cores[0], cores[1]


def raise_descriptor_limit() -> None:
    """Lets this process, and the servers that inherit it, hold all the idle connections."""
    need = IDLE_CONNECTIONS + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        sys.exit(f"benchmarks: needs {need} open files, and the hard limit (ulimit -Hn) is {hard}")
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def measure_rounds(
    bench: Bench, servers: Sequence[Server], workloads: Sequence[Workload], rounds: int
) -> Results:
    """All of it, in turn. A server that fails at a workload is not tried at it again."""
    results: Results = {}
    for number, workload, server in itertools.product(range(rounds), workloads, servers):
        if server.kind not in workload.kinds:
            continue
        key = (workload.name, server.name)
        samples = results.setdefault(key, [])
        if isinstance(samples, str):
            continue
        print(f"round {number + 1}: {workload.name}, {server.name}", file=sys.stderr)
        try:
            samples.append(measure(bench, server, workload))
        except Failed as failed:
            results[key] = f"{failed}"
    return results


def save(path: Path, text: str, results: Results) -> None:
    path.with_suffix(".md").write_text(text)
    plain = [
        {
            "workload": workload,
            "server": server,
            "failed": got if isinstance(got, str) else None,
            "samples": [] if isinstance(got, str) else [dataclasses.asdict(s) for s in got],
        }
        for (workload, server), got in results.items()
    ]
    path.with_suffix(".json").write_text(json.dumps(plain, indent=1) + "\n")


def main() -> int:
    args = parse_args()
    only = set(args.only)
    servers = [s for s in SERVERS if s.name in only or not only & {x.name for x in SERVERS}]
    workloads = [w for w in WORKLOADS if w.name in only or not only & {x.name for x in WORKLOADS}]
    server_core, client_core = pick_cores()
    raise_descriptor_limit()

    prepare.check_machine(args.python)
    prepare.make_work_folder()
    python = prepare.make_venv(args.python, servers)
    prepare.build_c(python, servers)
    busy = os.getloadavg()[0]
    bench = Bench(python, server_core, client_core, args.seconds)
    results = measure_rounds(bench, servers, workloads, args.rounds)

    parts = [
        f"{prepare.python_name(python)}, Linux {platform.release()}, {os.cpu_count()} cores. "
        f"Medians of {args.rounds} rounds of {args.seconds} s. Load average before: {busy:.2f}."
    ]
    for workload in workloads:
        asked = [s for s in servers if s.kind in workload.kinds]
        parts.append(table(workload, [(s, results[workload.name, s.name]) for s in asked]))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if args.save:
        save(args.save, text, results)
    ours = {s.name for s in servers if s.ours}
    return int(any(isinstance(got, str) for (_, name), got in results.items() if name in ours))


if __name__ == "__main__":
    sys.exit(main())
