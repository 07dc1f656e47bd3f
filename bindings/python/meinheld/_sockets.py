"""Listening sockets: TCP over IPv4 and IPv6, unix, adopted. They are Python's, and listen from the
start; a run only borrows their descriptors, so they live through forks and can be served by several
processes."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Union

from meinheld._environ import Place, server_name

Address = Union[tuple[str, int], str, bytes]

_WILDCARDS = ("0.0.0.0", "::")

_SO_DOMAIN = 39  # of socket(7), which PyPy's module does not name

# A name may stand for an address of a family that this host does not have.
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Listener:
    """A listening socket, and how to open it again."""

    def __init__(
        self, sock: socket.socket, reopen: Callable[[], list[Listener]] | None, path: str | None
    ) -> None:
        """reopen: None for one that somebody else opened; path: of a unix socket made here."""
        self._sock = sock
        self.reopen = reopen
        self._path = path
        self._file = _file(path) if path is not None else None
        self._pid = os.getpid()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    @property
    def port(self) -> int:
        """Its TCP port; 0 for a unix socket."""
        if self._sock.family == socket.AF_UNIX:
            return 0
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def place(self) -> Place:
        """What environ says of it. A unix socket has neither name nor port, and PEP 3333 wants
        both: its clients are on this host, and http's own port leaves URLs alone."""
        if self._sock.family == socket.AF_UNIX:
            return Place("localhost", "80", False)
        host = self._sock.getsockname()[0]
        return Place(server_name(host), str(self.port), host in _WILDCARDS)

    @property
    def name(self) -> tuple[str, int] | str:
        """Its address, or the path of a unix socket, an abstract one with @ in front."""
        found = self._sock.getsockname()
        if isinstance(found, bytes):
            return "@" + os.fsdecode(found[1:])
        return found if isinstance(found, str) else (found[0], found[1])

    def close(self) -> None:
        """Closes this process's descriptor; whoever made a unix socket removes its file, unless
        that is another's by now."""
        if self._path is not None and self._pid == os.getpid():
            with suppress(OSError):
                if _file(self._path) == self._file:
                    os.unlink(self._path)
        self._sock.close()


def _file(path: str) -> tuple[int, int] | None:
    """Which file is at path; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def listen(address: Address, backlog: int) -> list[Listener]:
    """Listens at (host, port), on every address that host stands for ("" is all), or at a path.

    Raises OSError with the address in it; TypeError, ValueError for what is no address."""
    if isinstance(address, (str, bytes)):
        return [_listen_unix(os.fsdecode(address), backlog)]
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        raise TypeError(f"address must be (host, port) or a path, not {address!r}")
    host: Any
    port: Any
    host, port = address[:2]
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")
    if isinstance(host, bytes):
        host = os.fsdecode(host)
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {host!r}")
    return _listen_tcp(host, port, backlog)


def _listen_tcp(host: str, port: int, backlog: int) -> list[Listener]:
    try:
        infos = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as exc:
        raise socket.gaierror(exc.errno, f"{exc.strerror}: {host!r}") from None
    targets = list(dict.fromkeys((family, target) for family, _, _, _, target in infos))
    listeners: list[Listener] = []
    failure: OSError | None = None
    for family, target in targets:
        try:
            # With port 0 the kernel's choice for the first address is taken for the others.
            chosen = port or (listeners[0].port if listeners else 0)
            sock = _tcp_socket(family, (target[0], chosen, *target[2:]), len(targets) > 1, backlog)
        except OSError as exc:
            failure = OSError(exc.errno, exc.strerror, f"{host}:{port}")
            if exc.errno in _NO_FAMILY and len(targets) > 1:
                continue
            _close(listeners)
            raise failure from None
        listeners.append(Listener(sock, None, None))
    if not listeners:
        assert failure is not None
        raise failure
    # The first opens all of them again, at the same port, even if that was the kernel's choice.
    listeners[0].reopen = partial(_listen_tcp, host, listeners[0].port, backlog)
    return listeners


def _tcp_socket(
    family: int, target: tuple[object, ...], several: bool, backlog: int
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A connection has it from its listener, also one that comes before run().
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if several and family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(path: str, backlog: int) -> Listener:
    if not path:
        raise ValueError("a path is not empty")  # bind would take any abstract name
    if "\0" in path[1:]:
        raise ValueError(f"a path has no NUL but as its first character: {path!r}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        sock.listen(backlog)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, exc.strerror or str(exc), path) from None
    name = os.path.abspath(path) if not path.startswith("\0") else None
    return Listener(sock, lambda: [_listen_unix(path, backlog)], name)


def _remove_stale(path: str) -> None:
    """Removes a socket at which nobody answers; leaves everything else to bind's EADDRINUSE."""
    try:
        if path.startswith("\0") or not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a live server whose backlog is full would hold us up
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            pass


def adopt(fds: int | Iterable[int], path: str | None = None) -> list[Listener]:
    """Takes over listening stream sockets by their descriptors, which stay the caller's. path: of a
    unix socket, whose file is to be removed at the end.

    Raises TypeError, ValueError or OSError, naming the descriptor."""
    listeners: list[Listener] = []
    try:
        for fd in [fds] if isinstance(fds, int) else fds:
            listeners.append(_adopt(fd, path))
    except BaseException:
        _close(listeners)
        raise
    return listeners


def _adopt(fd: int, path: str | None) -> Listener:
    if isinstance(fd, bool) or not isinstance(fd, int):
        raise TypeError(f"a descriptor is an int, not {fd!r}")
    if fd < 0:
        raise ValueError(f"a descriptor is not negative: {fd}")
    try:
        sock = _copy(fd)
    except OSError as exc:
        raise OSError(exc.errno, f"descriptor {fd}: {exc.strerror}") from None
    is_stream = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    if not (is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
        sock.close()
        raise ValueError(f"descriptor {fd} is no stream socket that listens")
    return Listener(sock, None, path)


def _copy(fd: int) -> socket.socket:
    """A socket that is a copy of fd, put in the place of one that was made for it.

    socket(fileno=...) is no way to it: PyPy's makes the socket blocking, and that is all processes'
    that share it, so that another which is just accepting from it would hang. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as probe:
        os.dup2(fd, probe.fileno(), inheritable=False)
        family = probe.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN)
    sock = socket.socket(family)
    os.dup2(fd, sock.fileno(), inheritable=False)
    return sock


def _close(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.close()
