"""What goes on beside a run of the command line: systemd hears how it is, whoever looks on hears
what a drain waits for, and the access log is reopened."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from time import monotonic

from meinheld import _hub, _tasks, server
from meinheld._loop import Loop
from meinheld._sdnotify import Notifier
from meinheld._watchdog import call_each


def say(line: str, who: str = "meinheld:") -> None:
    """A line of the server's own, on stderr. One that can't be written is lost, and nothing
    else."""
    with suppress(OSError, ValueError):  # ValueError: it is closed
        print(f"{who} {line}", file=sys.stderr, flush=True)


class Attendant:
    """That of one process."""

    def __init__(self, notifier: Notifier, graceful_timeout: float, serves: str) -> None:
        """graceful_timeout: seconds that a drain lasts at most, 0 for any time; serves: what it
        serves, and where."""
        self.ready = False  # the run has begun
        self._notifier = notifier
        self._graceful_timeout = graceful_timeout
        self._serves = serves
        self._until: float | None = None  # when the drain ends, at the latest
        # Its default would end the process: whoever rotates logs may come early. What the
        # application has set stays.
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, self._on_usr1)

    def attend(self, loop: Loop) -> None:
        """Looks after a loop that is about to run."""
        loop.post(self._ready)
        if self._notifier.watchdog_seconds:
            call_each(loop, self._beat, self._notifier.watchdog_seconds)
        loop.at_drain.append(lambda: self._drains(loop))

    def _ready(self) -> None:
        # Not before: now signals are taken as they are to be.
        self.ready = True
        say(f"serves {self._serves} - stop with Ctrl-C", f"meinheld {_hub.VERSION}")
        self._notifier.tell(READY=1, STATUS=f"serves {self._serves}")

    def _beat(self) -> None:
        self._notifier.tell(WATCHDOG=1)

    def _drains(self, loop: Loop) -> None:
        self._notifier.tell(STOPPING=1)
        if self._graceful_timeout:
            self._until = monotonic() + self._graceful_timeout
        call_each(loop, lambda: self._tell_progress(loop))

    def _tell_progress(self, loop: Loop) -> None:
        """Says, once a second, how many requests a drain still waits for; nothing if it only waits
        for connections that are idle."""
        count = _hub.count_requests(loop.hub) + len(loop.upgrades)
        if count:
            waits = f"{count} request{'s' if count > 1 else ''} still open"
            if self._until is not None:
                waits += f", cut off in {max(0, self._until - monotonic()):.0f} s"
            say(f"stopping: {waits}")
            self._notifier.tell(STATUS=f"stopping: {waits}")

    def _on_usr1(self, *_: object) -> None:
        for loop in list(_tasks.running):
            loop.post(_reopen)


def _reopen() -> None:
    try:
        server.reopen_access_log()
    except OSError as exc:  # the old file is still in use
        say(f"cannot reopen the access log: {exc.strerror or exc}: {exc.filename!r}")
