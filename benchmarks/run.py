#!/usr/bin/env python3
"""Measures this project's servers beside a limit and their peers: python3 benchmarks/run.py

The figure to trust is the CPU time that the server's process takes for an answer, and its ratio to
that of the limit (C) or of the best peer (Python) in the same run. It holds still where answers a
second do not: on a machine that has other work, and where the client is the slower one. The server
has one core and the client another. Rounds are interleaved: each case with each server in turn,
then all again, each measurement on a fresh process; medians are shown.

What is needed is put into .build/bench of the checkout; only what Debian must bring is asked for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness import prepare
from harness.cases import CASES, DEFAULT, IDLE_CONNECTIONS, POLLS, SUSPENDED, Case
from harness.measure import measure
from harness.process import Bench, Failed
from harness.report import table
from harness.servers import BASES, SERVERS, Server

Results = dict[tuple[str, str], "list[dict[str, float]] | str"]  # by case and server; or why not


def picked(text: str, names: Sequence[str]) -> list[str]:
    """The names of a list with commas between; "all" is all of them. Raises ArgumentTypeError."""
    found = list(names) if text == "all" else text.split(",")
    if unknown := set(found) - set(names):
        raise argparse.ArgumentTypeError(
            f"nothing is called {', '.join(sorted(unknown))}; there are {', '.join(names)}"
        )
    return found


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures this project's servers and their peers.")
    cases = [case.name for case in CASES]
    servers = [server.name for server in SERVERS]
    parser.add_argument(
        "--case",
        type=lambda text: picked(text, cases),
        default=list(DEFAULT),
        metavar="NAMES",
        help=f"of {', '.join(cases)}, with commas between, or all; {','.join(DEFAULT)} if not said",
    )
    parser.add_argument(
        "--server",
        type=lambda text: picked(text, servers),
        default=servers,
        metavar="NAMES",
        help=f"of {', '.join(servers)}; all that take part if not said",
    )
    parser.add_argument(
        "--base",
        type=lambda text: Path(text).resolve(strict=True),
        metavar="CHECKOUT",
        help="measures that one beside this one, as base and base_4",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=int, default=2, metavar="S", help="of each measurement")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="runs the WSGI ones"
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write PATH.md and PATH.json too")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    return args


def pick_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("benchmarks: the server and its client need a core each, and here is one in all")
    return cores[0], cores[1]


def raise_descriptor_limit() -> None:
    """Lets this process, and the servers that inherit it, hold all the connections that
    idle, or wait."""
    need = max(IDLE_CONNECTIONS, POLLS, SUSPENDED) + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        sys.exit(f"benchmarks: needs {need} open files, and the hard limit (ulimit -Hn) is {hard}")
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def pairs(cases: Sequence[Case], servers: Sequence[str]) -> list[tuple[Case, Server]]:
    """Each case with those of the servers that take part in it."""
    by_name = {server.name: server for server in (*SERVERS, *BASES)}
    return [(case, by_name[name]) for case in cases for name in case.servers if name in servers]


def with_bases(case: Case) -> Case:
    """The case, with the servers of another checkout after ours."""
    bases = {name.replace("meinheld", "base"): name for name in case.servers}
    added = [server.name for server in BASES if server.name in bases]
    at = case.servers.index(bases[added[-1]]) + 1 if added else 0
    return replace(case, servers=(*case.servers[:at], *added, *case.servers[at:]))


def measure_rounds(bench: Bench, todo: Sequence[tuple[Case, Server]], rounds: int) -> Results:
    """All of it, in turn. A server that fails at a case is not tried at it again."""
    results: Results = {(case.name, server.name): [] for case, server in todo}
    for number, (case, server) in itertools.product(range(rounds), todo):
        samples = results[case.name, server.name]
        if isinstance(samples, str):
            continue
        print(f"round {number + 1}: {case.name}, {server.name}", file=sys.stderr)
        try:
            samples.append(measure(bench, server, case))
        except Failed as failed:
            results[case.name, server.name] = f"{failed}"
    return results


def save(path: Path, text: str, results: Results) -> None:
    path.with_suffix(".md").write_text(text)
    plain = [
        {
            "case": case,
            "server": server,
            "failed": got if isinstance(got, str) else None,
            "samples": [] if isinstance(got, str) else got,
        }
        for (case, server), got in results.items()
    ]
    path.with_suffix(".json").write_text(json.dumps(plain, indent=1) + "\n")


def main() -> int:
    args = parse_args()
    cases = [case for case in CASES if case.name in args.case]
    if args.base:
        cases = list(map(with_bases, cases))
        args.server += [f"base{name[8:]}" for name in args.server if name.startswith("meinheld")]
    todo = pairs(cases, args.server)
    servers = [server for server in SERVERS if any(server is s for _, s in todo)]
    server_core, client_core = pick_cores()
    raise_descriptor_limit()

    prepare.check_machine(args.python, servers)
    prepare.make_work_folder()
    python = prepare.make_venv(args.python, servers)
    if args.base:
        prepare.install_base(python, args.base)
    prepare.build_c(python, servers)
    prepare.make_files(cases)
    busy = os.getloadavg()[0]
    bench = Bench(python, server_core, client_core, args.seconds)
    results = measure_rounds(bench, todo, args.rounds)

    parts = [
        f"{prepare.python_name(python)}, Linux {platform.release()}, {os.cpu_count()} cores. "
        f"Medians of {args.rounds} rounds of {args.seconds} s. Load average before: {busy:.2f}."
    ]
    for case in cases:
        names = [name for name in case.servers if (case.name, name) in results]
        parts.append(table(case, [(name, results[case.name, name]) for name in names]))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if args.save:
        save(args.save, text, results)
    return int(any(isinstance(results[c.name, s.name], str) for c, s in todo if s.ours))


if __name__ == "__main__":
    sys.exit(main())
