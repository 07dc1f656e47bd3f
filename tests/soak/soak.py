"""Serves app.py to all that clients.py knows, in four phases of the same traffic, and holds the
server to its counts: docs/soak.md says what is checked and how to read what is printed.

The first phase warms up. It takes a quarter of the time, which decides how many rounds each phase
has; after that nothing depends on the clock."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from clients import KINDS, PATIENCE, PATIENT, SPOOLED, Play, Tally
from harness import Server, count_tracebacks
from meinheld._loop import MAX_SPARES
from rawclient import Address, Client

PHASES = ("warm-up", "first", "second", "third")
WORKERS = 16
# More requests than that are never suspended at once in a round; so many at the beginning of each
# phase make the server keep all the greenlets and timers that it will ever keep.
BURST = MAX_SPARES + WORKERS
# What must be after each phase as it was after the warm-up.
EXACT = ("blocks", "fds", "greenlets")
# Bytes by which resident memory after the third phase may differ from that after the second.
RESIDENT_MOST = 1 << 20
# Of an idle second: the last step may still be on its way to its wait, a tick may just be ending.
WAKEUPS_MOST = 2
TICKS_MOST = 1
FAILURES_MOST = 20
Job = tuple[Callable[[Play], None], str]  # a kind, and the key of one play of it
QUIET = {"connections": 1, "requests": 1, "timers": 0, "suspended": 0, "upgraded": 0}  # 1: who asks


@dataclass
class Phase:
    """What a phase did, and how it left the server."""

    name: str
    tally: Tally
    seconds: float
    wakeups: int  # in an idle second
    ticks: int  # of CPU time in it
    counts: dict[str, int]


class Plays:
    """The plays of a phase, in an order that only the seed decides; handed out to the workers."""

    def __init__(self, seed: int, rounds: int | None, seconds: float) -> None:
        """rounds: how many there are; None: those that begin within seconds, and one at least."""
        self.rounds = 0
        self.failures: list[str] = []
        self._seed = seed
        self._wanted = rounds
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._all = self._make()

    def _make(self) -> Iterator[Job]:
        while not self._over():
            kinds = [kind for kind, times in KINDS.items() for _ in range(times)]
            Random(f"{self._seed} {self.rounds}").shuffle(kinds)
            for number, kind in enumerate(kinds):
                yield kind, f"{self._seed}-{self.rounds}-{number}"
            self.rounds += 1

    def _over(self) -> bool:
        if len(self.failures) >= FAILURES_MOST:
            return True
        if self._wanted is None:
            return self.rounds > 0 and time.monotonic() >= self._end
        return self.rounds >= self._wanted

    def next(self) -> Job | None:
        with self._lock:
            return next(self._all, None)


class Soak:
    """One run."""

    def __init__(self, server: Server, seconds: float, seed: int) -> None:
        self.server = server
        self.phases: list[Phase] = []  # those that ended well
        self.total = Tally()
        self.breaches: list[str] = []
        self._addresses: list[Address] = server.addresses[:2]
        self._control = server.addresses[2]
        self._seconds = seconds / len(PHASES)
        self._seed = seed
        self._rounds: int | None = None

    def run(self) -> None:
        for name in PHASES:
            say(f"{name} phase: {self._rounds or 'as many as fit'} rounds")
            try:
                self._run_phase(name)
            except (AssertionError, OSError):
                self._breach(f"{name} phase: {traceback.format_exc()}")
            if self.breaches:
                break

    # ---- a phase

    def _run_phase(self, name: str) -> None:
        tally = Tally()
        begin = time.monotonic()
        self._play_burst(tally)
        plays = Plays(self._seed, self._rounds, self._seconds)
        self._play(plays, tally)
        self._rounds = plays.rounds
        self.total.add(tally)
        for failure in plays.failures:
            self._breach(f"{name} phase: {failure}")
        self._settle(name)
        if self.breaches:
            return  # a server that is not well is not measured
        seconds = time.monotonic() - begin
        wakeups, ticks = self._idle_second()
        self.phases.append(Phase(name, tally, seconds, wakeups, ticks, self._ask("/counts")))
        self._check()

    def _play_burst(self, tally: Tally) -> None:
        """Suspends BURST requests at once, then wakes them."""
        with ExitStack() as stack:
            waker = stack.enter_context(Client(self._control, timeout=PATIENCE))
            burst = [
                Play("burst", f"{self._seed}-burst-{i}", self._addresses, tally)
                for i in range(BURST)
            ]
            waiters = [stack.enter_context(play.connect()) for play in burst]
            for play, waiter in zip(burst, waiters):
                play.suspend(waiter, waker)
            for play, waiter in zip(burst, waiters):
                play.wake(waker)
                play.expect(waiter, f"woken {play.key}".encode())

    def _play(self, plays: Plays, tally: Tally) -> None:
        """Plays all, several at a time."""
        tallies: list[Tally] = []

        def work(jobs: Iterable[Job]) -> None:
            own = Tally()
            tallies.append(own)
            for kind, key in jobs:
                try:
                    kind(Play(kind.__name__, key, self._addresses, own))
                except Exception:
                    plays.failures.append(f"{kind.__name__} {key}:\n{traceback.format_exc()}")

        patient = [
            (kind, f"{self._seed}-{kind.__name__}-{number}")
            for kind, times in PATIENT.items()
            for number in range(times)
        ]
        shares: list[Iterable[Job]] = [[job] for job in patient]
        shares += [iter(plays.next, None) for _ in range(WORKERS)]
        threads = [threading.Thread(target=work, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for own in tallies:
            tally.add(own)

    # ---- the server, as it is

    def _ask(self, path: str) -> dict[str, int]:
        """What the server says of itself, by a connection that it then closes."""
        with Client(self._control, timeout=PATIENCE) as client:
            response = client.get(path, fields=[("Connection", "close")])
            client.expect_close()
        assert response.status == 200, response.body
        counts: dict[str, int] = json.loads(response.body)
        return counts

    def _settle(self, name: str) -> None:
        """Returns when the server has noticed that all clients have gone."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._ask("/open")) != QUIET:
            if time.monotonic() > deadline:
                for key, value in found.items():
                    if value != QUIET[key]:
                        self._breach(f"{name} phase: {key} still open: {value - QUIET[key]}")
                return
            time.sleep(0.01)

    def _idle_second(self) -> tuple[int, int]:
        """How often the server wakes up in a second without clients, and its CPU time in ticks."""
        before = self._activity()
        time.sleep(1)
        after = self._activity()
        return after[0] - before[0], after[1] - before[1]

    def _activity(self) -> tuple[int, int]:
        """Its voluntary context switches and CPU ticks so far (proc(5))."""
        proc = Path(f"/proc/{self.server.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        # The second field, in parentheses, may contain blanks; utime is the 14th.
        stat = (proc / "stat").read_text().rpartition(")")[2].split()
        return int(status["voluntary_ctxt_switches"]), int(stat[11]) + int(stat[12])

    # ---- the checks

    def _breach(self, text: str) -> None:
        self.breaches.append(text)

    def _check(self) -> None:
        """The last phase against those before it."""
        first, last = self.phases[0], self.phases[-1]
        if last.tally != first.tally:
            self._breach(f"{last.name} phase: {last.tally}, in the warm-up {first.tally}")
        for figure in EXACT:
            was, now = first.counts[figure], last.counts[figure]
            if was != now:
                self._breach(f"{last.name} phase: {figure}: {now}, not {was} as after the warm-up")
        if last.name == "third":
            was, now = (phase.counts["resident"] for phase in self.phases[-2:])
            if abs(now - was) > RESIDENT_MOST:
                self._breach(f"third phase: resident: {now} bytes, {was} after the second")
        if last.wakeups > WAKEUPS_MOST:
            self._breach(f"{last.name} phase: wakeups in an idle second: {last.wakeups}")
        if last.ticks > TICKS_MOST:
            self._breach(f"{last.name} phase: ticks of CPU in an idle second: {last.ticks}")

    def check_end(self) -> None:
        """Ends the server, which must do so in order, having logged what was provoked, no more."""
        status = self.server.stop()
        if status != 0:
            self._breach(f"the server's exit status: {status}")
        log = self.server.log
        provoked = self.total.failures
        for what, logged in (
            ("tracebacks", count_tracebacks(log)),
            ("failures", log.count("app.Provoked: ")),
        ):
            if logged != provoked:
                self._breach(f"{what} in the log: {logged}, not {provoked} as provoked")


# ---- what is printed


def say(text: str) -> None:
    print(text, flush=True)


def say_table(heads: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows)]
    for row in [heads, *rows]:
        first, *others = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths))
        )
        say("  ".join([first, *others]))
    say("")


def report(whole: Tally, phases: list[Phase]) -> None:
    say("")
    say_table(
        ["requests", "number"], [[kind, f"{n:,}"] for kind, n in sorted(whole.requests.items())]
    )
    say_table(
        ["answers", "number"],
        [[str(status), f"{n:,}"] for status, n in sorted(whole.answers.items())],
    )
    say_table(
        ["other", "number"],
        [
            ["bytes of uploads", f"{whole.sent:,}"],
            ["bytes of answers", f"{whole.received:,}"],
            ["left by the client", f"{whole.aborts:,}"],
            ["failures provoked", f"{whole.failures:,}"],
        ],
    )
    if not phases:
        return
    say_table(
        ["after", *(phase.name for phase in phases)],
        [
            ["seconds", *(f"{phase.seconds:.1f}" for phase in phases)],
            ["requests", *(f"{sum(phase.tally.requests.values()):,}" for phase in phases)],
            *(
                [figure, *(f"{phase.counts[figure]:,}" for phase in phases)]
                for figure in phases[0].counts
            ),
            ["idle wakeups", *(str(phase.wakeups) for phase in phases)],
            ["idle ticks", *(str(phase.ticks) for phase in phases)],
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long it takes, about (600)")
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help=f"of the server for the application (0); else more than {BURST}, for so many wait",
    )
    parser.add_argument("--seed", type=int, default=1, help="what decides the traffic (1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mh-soak-") as name:
        directory = Path(name)
        server = Server(
            "app:app",
            [("127.0.0.1", 0), f"{name}/socket", f"{name}/control"],
            directory,
            {"client_body_buffer_size": SPOOLED, "threads": arguments.threads},
            {},
        )
        soak = Soak(server, arguments.seconds, arguments.seed)
        try:
            soak.run()
            soak.check_end()
        finally:
            server.kill()
        report(soak.total, soak.phases)
        if soak.breaches:
            say(f"the end of the server's log:\n{server.log[-2000:]}")
    for breach in soak.breaches:
        say(f"BREACH: {breach}")
    say("the soak has failed" if soak.breaches else "all is as it was after the warm-up")
    return 1 if soak.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
