"""The listening sockets of the command line: opened here or handed over, and given to each run.

They are this module's, and a run has copies: so a process that is to become a new one by exec keeps
them, and whoever connects meanwhile waits in their backlogs."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Final

from meinheld import _sockets, server
from meinheld._addresses import SYSTEMD, Endpoint, parse_address, shown
from meinheld._application import StartError, one_line
from meinheld._sockets import Listener

FIRST_FREE_PORT: Final = 1024  # of ip(7), unless net.ipv4.ip_unprivileged_port_start says otherwise

_FIRST: Final = 3  # of sd_listen_fds(3)

# Of the process before this one, before its exec: its number, which is this one's, and the
# descriptors of each --bind.
_KEPT: Final = "_MEINHELD_LISTENING"


class Listening:
    """All that a process listens on."""

    def __init__(
        self, binds: Sequence[str], backlog: int, environ: MutableMapping[str, str]
    ) -> None:
        """Listens at binds, texts of parse_address(). environ: what it says of descriptors that
        were handed over, by systemd or by keep(), is taken out of it. Raises StartError."""
        self._opened: dict[str, list[Listener]] = {}
        self._backlog = backlog
        kept = _take_kept(environ)
        handed = _take_handed(environ)
        try:
            for bind in binds:
                if bind not in self._opened:
                    self._opened[bind] = self._open(bind, kept.pop(bind, None), handed)
        except BaseException:
            self.close()
            raise
        for fds in kept.values():  # of what is not listened at any more
            _close(fds)
        if not any(parse_address(bind) is SYSTEMD for bind in binds):
            _close(handed)

    def _open(self, bind: str, kept: list[int] | None, handed: list[int]) -> list[Listener]:
        endpoint = parse_address(bind)
        if kept is not None:
            path = os.path.abspath(endpoint) if isinstance(endpoint, str) else None
            return _adopt(bind, kept, path)
        if endpoint is SYSTEMD:
            if not handed:
                raise StartError(f"cannot listen on {bind}: LISTEN_FDS has none for this process")
            return _adopt(bind, handed, None)
        if isinstance(endpoint, int):
            return _adopt(bind, [endpoint], None)
        return _listen(endpoint, self._backlog)

    def serve(self) -> None:
        """Gives them to the next run."""
        server.listen(socket_fd=[listener.fileno() for listener in self._all()])

    def _all(self) -> list[Listener]:
        return [listener for listeners in self._opened.values() for listener in listeners]

    def __str__(self) -> str:
        """Where that is, in one line."""
        places = []
        for bind, listeners in self._opened.items():
            endpoint = parse_address(bind)
            if isinstance(endpoint, tuple):  # by the name that was given
                places.append(f"http://{shown((endpoint[0], listeners[0].port))}")
            else:
                places += [_place(listener) for listener in listeners]
        return ", ".join(places)

    def keep(self, environ: MutableMapping[str, str]) -> None:
        """Lets them live through an exec, with that environment."""
        fds: dict[str, list[int]] = {}
        for bind, listeners in self._opened.items():
            fds[bind] = [listener.fileno() for listener in listeners]
            for fd in fds[bind]:
                os.set_inheritable(fd, True)
        environ[_KEPT] = json.dumps([os.getpid(), fds])

    def close(self) -> None:
        """Listens no more. A second call has no effect."""
        for listener in self._all():
            listener.close()
        self._opened.clear()


def _place(listener: Listener) -> str:
    name = listener.name
    return f"unix:{name}" if isinstance(name, str) else f"http://{shown(name)}"


def _listen(endpoint: Endpoint, backlog: int) -> list[Listener]:
    assert isinstance(endpoint, (tuple, str))
    try:
        return _sockets.listen(endpoint, backlog)
    except (OSError, ValueError) as exc:  # ValueError: a host name that no resolver takes
        reason = getattr(exc, "strerror", None) or one_line(exc)
        if isinstance(exc, PermissionError) and isinstance(endpoint, tuple):
            reason += f" (a port below {FIRST_FREE_PORT} takes root or CAP_NET_BIND_SERVICE)"
        raise StartError(f"cannot listen on {shown(endpoint)}: {reason}") from exc


def _adopt(bind: str, fds: list[int], path: str | None) -> list[Listener]:
    """Copies of descriptors, which are closed: what this process starts is not to inherit them."""
    try:
        listeners = _sockets.adopt(fds, path)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise StartError(f"cannot listen on {bind}: {reason}") from exc
    _close(fds)
    return listeners


def _close(fds: list[int]) -> None:
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


def is_handed(environ: MutableMapping[str, str]) -> bool:
    """Whether systemd hands sockets to this process (sd_listen_fds(3))."""
    return environ.get("LISTEN_PID") == str(os.getpid()) and environ.get("LISTEN_FDS") != "0"


def _take_handed(environ: MutableMapping[str, str]) -> list[int]:
    """Their descriptors."""
    ours = is_handed(environ)
    count = environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if not ours:
        return []
    if not (count.isascii() and count.isdigit() and len(count) < 5):
        raise StartError(f"LISTEN_FDS {count!r}: not a number of descriptors")
    return list(range(_FIRST, _FIRST + int(count)))


def _take_kept(environ: MutableMapping[str, str]) -> dict[str, list[int]]:
    text = environ.pop(_KEPT, None)
    if text is None:
        return {}
    pid, fds = json.loads(text)
    return fds if pid == os.getpid() else {}  # else of a process that has started this one
