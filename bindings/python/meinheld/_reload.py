"""Starting anew when a Python file changes: the process becomes a new one by exec, whose sockets
are those of the old.

Nothing of the old one is left then, so whatever an import did is done again; what it registered
with atexit is not called."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from threading import Event, Thread
from typing import Callable, Final

from meinheld._application import StartError
from meinheld._listening import Listening
from meinheld._loop import Loop

# Seconds that open requests are given to end before a restart.
_DRAIN: Final = 1.0

# Milliseconds for which changes are waited for at a time.
_LOOK: Final = 200


class Reloader:
    """Watches directories from the start of a process to its end."""

    def __init__(self, directories: Sequence[str]) -> None:
        """Raises StartError, also if watchfiles is not installed."""
        try:
            from watchfiles import PythonFilter, watch
        except ImportError:
            raise StartError(
                "--reload takes watchfiles, which is not installed: pip install 'meinheld[reload]'"
            ) from None
        for directory in directories:
            if not os.path.isdir(directory):
                raise StartError(f"--reload-dir {directory!r}: not a directory")
        # What the application does to these is not to outlive it.
        self._environ = dict(os.environ)
        self._cwd = os.getcwd()
        self._stop = Event()
        self._changes = watch(
            *directories,
            watch_filter=PythonFilter(),
            stop_event=self._stop,
            rust_timeout=_LOOK,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        self.changed = ""  # a file that has, and for which the process starts anew
        try:
            next(self._changes)  # from here on no change is missed
        except OSError as exc:
            raise StartError(f"--reload-dir: {exc}") from exc

    def wait(self) -> bool:
        """Waits for a change, which is True, or a signal."""
        for changes in self._changes:
            for _, path in sorted(changes):
                self.changed = os.path.relpath(path, self._cwd)
                return self.is_due
        return False

    @property
    def is_due(self) -> bool:
        """Whether the process is to start anew."""
        return bool(self.changed) and not self._stop.is_set()

    def take_signals(self) -> None:
        """From now on SIGINT and SIGTERM say that the process is to end, and not to start anew.
        Until then, while the application is imported, they end it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())

    def attend(self, loop: Loop) -> None:
        """Drains a loop that is about to run when there is a change, or has been."""

        def drain() -> None:
            if not loop.draining:
                loop.drain(_DRAIN)

        def watch() -> None:
            if self.wait():
                loop.post(drain)

        Thread(target=watch, name="meinheld-reload", daemon=True).start()

    def restart(self, listening: Listening, argv: Sequence[str] | None) -> None:
        """Becomes a new process, with the same command; argv: as that of main()."""
        listening.keep(self._environ)
        os.chdir(self._cwd)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.execve(sys.executable, _command(argv), self._environ)


def _command(argv: Sequence[str] | None) -> list[str]:
    """That of this process, options of the interpreter included where they are known."""
    original: Callable[[], list[str]] | list[str] | None = getattr(sys, "orig_argv", None)
    if argv is None and isinstance(original, list):
        return [sys.executable, *original[1:]]
    return [sys.executable, "-m", "meinheld", *(sys.argv[1:] if argv is None else argv)]
