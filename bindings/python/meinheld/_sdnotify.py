"""What systemd is told of this process, by datagrams to the socket that it names (sd_notify(3)).

A dozen lines, so they are here: the packages that do it are a binding to libsystemd, which has to
be built, and one that nobody keeps any more."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Tells systemd, or nobody if it did not ask."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """environ: NOTIFY_SOCKET names a socket, a path or @ and an abstract name; WATCHDOG_USEC
        are the microseconds within which the process of WATCHDOG_PID has to be heard of."""
        name = environ.get("NOTIFY_SOCKET", "")
        if name.startswith("@"):
            name = "\0" + name[1:]
        self._address = os.fsencode(name) if name.startswith(("/", "\0")) else None
        self.watchdog_seconds = self._watchdog(environ)

    def _watchdog(self, environ: Mapping[str, str]) -> float:
        """Seconds between two WATCHDOG=1, half of what is allowed (sd_watchdog_enabled(3)); 0: none
        are asked for."""
        text = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        asked = self._address is not None and ours and text.isascii() and text.isdigit()
        return min(int(text[:18]), 10**15) / 2e6 if asked else 0

    def tell(self, **state: str | int) -> None:
        """Sends what is given, as in tell(READY=1, STATUS="serves"). Never waits: what a manager
        does not take is lost."""
        if self._address is None:
            return
        # A line end would begin another assignment.
        lines = (f"{name}={' '.join(str(value).split())}" for name, value in state.items())
        message = "\n".join(lines).encode(errors="replace")
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message, self._address)
