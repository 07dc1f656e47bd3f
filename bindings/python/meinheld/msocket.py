"""Sockets that let others be served while they wait.

    from meinheld import msocket

    def app(environ, start_response):
        with msocket.create_connection(("127.0.0.1", 6379), timeout=2) as sock:
            sock.sendall(b"PING\\r\\n")
            answer = sock.recv(100)  # meanwhile the loop serves other requests
        ...

All names of the standard library's module are here, and mean the same. In a request or a task that
runs in a loop's own thread, what would block there waits in the loop. Everywhere else, in threads,
those of a pool too, and in programs without a server, it blocks its thread as ever. Timeouts and
exceptions are the same in both. meinheld.patch puts this where libraries look for sockets.

Underneath, a socket never blocks, and its timeout is kept here. So the descriptor of a socket that
is handed to others by fileno() is a non-blocking one. That of detach() is blocking if the socket
was."""

from __future__ import annotations

import errno
import math
import os
import socket as _standard
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from operator import index
from threading import RLock
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from meinheld._blocking import offload, sleep
from meinheld._descriptors import READ, WRITE, cooperating_loop, trampoline, wait_or_block
from meinheld._exceptions import timeout as _late

if TYPE_CHECKING:
    from meinheld._loop import Loop

Result = TypeVar("Result")
Address = Any  # a tuple, a path or bytes, as the family has it
Buffer = Any  # what memoryview() takes

# As they are before anything is patched.
_base: Final = _standard.socket
_getaddrinfo: Final = _standard.getaddrinfo
_gethostbyaddr: Final = _standard.gethostbyaddr
_gethostbyname: Final = _standard.gethostbyname
_gethostbyname_ex: Final = _standard.gethostbyname_ex
_getnameinfo: Final = _standard.getnameinfo

# A call with one of these does not wait, unless its socket has a timeout.
_IMPATIENT: Final = _standard.MSG_DONTWAIT | _standard.MSG_ERRQUEUE

# After how many seconds a connect is tried again if the backlog of a unix socket is full: no
# descriptor tells when there is room.
_FULL_BACKLOG: Final = 0.01

# How much of what a socket has not taken at once it is given at a time, in bytes: PyPy copies all
# that it is given.
_PIECE: Final = 1 << 20

# Guards who waits for which socket. Signal handlers may close one, hence re-entrant.
_lock = RLock()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)


class socket(_standard.socket):
    """The standard library's class, whose calls wait in the loop if their caller can."""

    __slots__ = ("_orphan", "_timeout", "_waits")

    _timeout: float | None  # seconds
    _waits: tuple[Loop, ...]  # of each wait, where it is
    _orphan: int  # the descriptor, if the last of those who wait is to close it

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self._timeout = _base.gettimeout(self)
        self._waits = ()
        self._orphan = -1
        _base.settimeout(self, 0.0)

    # ---- the timeout

    def settimeout(self, value: float | None, /) -> None:
        timeout = None if value is None else _seconds(value)
        _base.settimeout(self, 0.0)  # others may have set what is the descriptor's
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        return self._timeout

    timeout = property(gettimeout)

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return self._timeout != 0.0

    # ---- waiting

    def _deadline(self) -> float | None:
        """When a call that begins now is to end, by monotonic()."""
        return None if self._timeout is None else monotonic() + self._timeout

    def _wait(self, events: int, deadline: float | None) -> None:
        """Waits until the descriptor is ready for one of events. Raises TimeoutError."""
        fd = self.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        left = None if deadline is None else max(0.0, deadline - monotonic())
        loop = cooperating_loop()
        if loop is None:
            found = wait_or_block(fd, events, left)
        else:
            with _lock:
                self._waits += (loop,)
            try:
                found = loop.descriptors.wait(fd, events, left, shared=True)
            finally:
                self._leave(loop)
        if not found:
            raise _standard.timeout("timed out")

    def _leave(self, loop: Loop) -> None:
        """A wait is over."""
        with _lock:
            waits = list(self._waits)
            waits.remove(loop)
            self._waits = tuple(waits)
            orphan = -1
            if not waits:
                orphan, self._orphan = self._orphan, -1
        if orphan >= 0:
            os.close(orphan)

    def _do(self, events: int, flags: int, function: Callable[..., Result], *args: Any) -> Result:
        """function(self, *args), as soon as that need not wait. flags: those among args."""
        deadline: float | None = None
        waited = False
        while True:
            try:
                return function(self, *args)
            except BlockingIOError:
                self._check_patience(flags)
            if not waited:
                deadline = self._deadline()
                waited = True
            self._wait(events, deadline)

    def _check_patience(self, flags: int) -> None:
        """In the handler of a BlockingIOError: raises it if that is what the caller is to get."""
        timeout = self._timeout
        if timeout == 0.0 or (timeout is None and flags & _IMPATIENT):
            raise

    # ---- connections

    def accept(self) -> tuple[socket, Address]:
        fd, address = self._do(READ, 0, _accept)
        return socket(self.family, self.type, self.proto, fileno=fd), address

    def connect(self, address: Address, /) -> None:
        code = self._connect(address)
        if code:
            raise OSError(code, os.strerror(code))

    def connect_ex(self, address: Address, /) -> int:
        try:
            return self._connect(address)
        except _standard.timeout:
            return errno.EAGAIN

    def _connect(self, address: Address) -> int:
        """An errno; 0 once it is connected. Raises TimeoutError."""
        address = self._with_numbers(address)
        deadline = self._deadline()
        while True:
            code = _base.connect_ex(self, address)
            timeout = self._timeout
            if timeout == 0.0:
                return code
            if code == errno.EINPROGRESS or (timeout is None and code == errno.EALREADY):
                self._wait(WRITE, deadline)
                return int(self.getsockopt(_standard.SOL_SOCKET, _standard.SO_ERROR))
            if timeout is not None or code != errno.EAGAIN:
                return code
            sleep(_FULL_BACKLOG)

    def _with_numbers(self, address: Address) -> Address:
        """address with a host that needs no looking up, which would hold up the loop."""
        if self.family not in _INTERNET or not isinstance(address, tuple) or len(address) < 2:
            return address
        host, *rest = address
        if _is_quick(host) or cooperating_loop() is None:
            return address
        found: Any = getaddrinfo(host, None, self.family, self.type, self.proto)[0][4]
        return (found[0], *rest, *found[len(address) :])

    # ---- receiving

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if flags & _standard.MSG_WAITALL and self._collects(flags):
            buffer = bytearray(bufsize)
            return bytes(buffer[: self._collect(memoryview(buffer), flags)])
        return self._do(READ, flags, _base.recv, bufsize, flags)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        if flags & _standard.MSG_WAITALL and self._collects(flags):
            with memoryview(buffer) as view, view.cast("B") as room:
                return self._collect(room[: nbytes or len(room)], flags)
        return self._do(READ, flags, _base.recv_into, buffer, nbytes, flags)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Address]:
        return self._do(READ, flags, _base.recvfrom, bufsize, flags)

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Address]:
        return self._do(READ, flags, _base.recvfrom_into, buffer, nbytes, flags)

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        return self._do(READ, flags, _base.recvmsg, bufsize, ancbufsize, flags)

    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> Any:
        return self._do(READ, flags, _base.recvmsg_into, list(buffers), ancbufsize, flags)

    def _collects(self, flags: int) -> bool:
        """Whether MSG_WAITALL waits at all: where the kernel would, the socket being a blocking
        one. What is only looked at can't be collected."""
        patient = self._timeout is None and not flags & (_IMPATIENT | _standard.MSG_PEEK)
        return patient and self.type == _standard.SOCK_STREAM

    def _collect(self, room: memoryview, flags: int) -> int:
        """Fills room, unless the stream ends before, or fails after some of it has come."""
        n = 0
        while n < len(room):
            try:
                more = self._do(READ, flags, _base.recv_into, room[n:], 0, flags)
            except OSError:
                if n:
                    break
                raise
            if not more:
                break
            n += more
        return n

    # ---- sending

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        return self._do(WRITE, flags, _base.send, data, flags)

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        deadline = self._deadline()
        with memoryview(data) as view, view.cast("B") as rest:
            sent = 0
            while True:
                try:
                    left = rest[sent : sent + _PIECE] if sent else rest
                    sent += _base.send(self, left, flags)
                except BlockingIOError:
                    self._check_patience(flags)
                    waits = True
                else:
                    if sent >= len(rest):
                        return
                    if deadline is not None and monotonic() >= deadline:
                        raise _standard.timeout("timed out")
                    waits = False
                if waits:
                    self._wait(WRITE, deadline)

    def sendto(self, *args: Any) -> int:
        """(data, address) or (data, flags, address)"""
        if not 2 <= len(args) <= 3:
            return _base.sendto(self, *args)  # which says what is wrong
        flags = args[1] if len(args) == 3 and isinstance(args[1], int) else 0
        return self._do(WRITE, flags, _base.sendto, *args[:-1], self._with_numbers(args[-1]))

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: Address = None,
        /,
    ) -> int:
        if address is not None:
            address = self._with_numbers(address)
        args = (list(buffers), list(ancdata), flags, address)
        return self._do(WRITE, flags, _base.sendmsg, *args)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        # That by sendfile(2) would wait in a selector.
        return cast(int, self._sendfile_use_send(file, offset, count))  # type: ignore[attr-defined]

    # ---- the end

    def detach(self) -> int:
        if self._waits:
            self._end_waits(False)
        fd: int = super().detach()
        if fd >= 0 and self._timeout is None:
            with suppress(OSError):  # closed by others
                os.set_blocking(fd, True)
        return fd

    def _real_close(self) -> None:
        if self._waits:
            self._end_waits(True)
        super()._real_close()  # type: ignore[misc]

    def _end_waits(self, closes: bool) -> None:
        """Has those who wait raise OSError (EBADF). A loop must not watch what is closed, and is
        told of it in its own thread; if that is another one, the last who waits closes."""
        fd = self.fileno()
        with _lock:
            loops = set(self._waits)
            if closes and not all(loop.is_own_thread() for loop in loops):
                self._orphan = super().detach()
        for loop in loops:
            cancel = partial(loop.descriptors.cancel, fd, errno.EBADF, "closed by somebody else")
            if loop.is_own_thread():
                cancel()
            else:
                loop.post(cancel)


def _accept(sock: Any) -> tuple[int, Address]:
    fd, address = sock._accept()
    return fd, address


def _seconds(value: float) -> float:
    """A timeout, or the exceptions that the standard library has for what is none."""
    seconds = float(value if isinstance(value, (int, float)) else index(value))
    if math.isnan(seconds):
        raise ValueError("Invalid value NaN (not a number)")
    if seconds < 0:
        raise ValueError("Timeout value out of range")
    if seconds >= 2**63 / 1e9:
        raise OverflowError("timeout doesn't fit into C timeval")
    return seconds


# ---- names and addresses: the C library looks them up, and is waited for in another thread

_INTERNET: Final = (_standard.AF_INET, _standard.AF_INET6)


def _is_quick(host: object) -> bool:
    """Whether nobody need be asked for the address of host."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("latin-1")
    if not isinstance(host, str) or host in ("", "<broadcast>"):
        return True
    for family in _INTERNET:
        try:
            _standard.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False


def getaddrinfo(
    host: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> Any:
    look_up = partial(_getaddrinfo, host, port, family, type, proto, flags)
    return look_up() if _is_quick(host) else offload(look_up)


def gethostbyname(hostname: str, /) -> str:
    look_up = partial(_gethostbyname, hostname)
    return look_up() if _is_quick(hostname) else offload(look_up)


def gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    look_up = partial(_gethostbyname_ex, hostname)
    return look_up() if _is_quick(hostname) else offload(look_up)


def gethostbyaddr(ip_address: str, /) -> tuple[str, list[str], list[str]]:
    return offload(partial(_gethostbyaddr, ip_address))


def getnameinfo(sockaddr: Address, flags: int, /) -> tuple[str, str]:
    look_up = partial(_getnameinfo, sockaddr, flags)
    return look_up() if flags & _standard.NI_NUMERICHOST else offload(look_up)


# ---- what the standard library makes of these

# By name, what stands in for the standard library's.
REPLACEMENTS: Final[dict[str, Any]] = {
    "socket": socket,
    "getaddrinfo": getaddrinfo,
    "gethostbyaddr": gethostbyaddr,
    "gethostbyname": gethostbyname,
    "gethostbyname_ex": gethostbyname_ex,
    "getnameinfo": getnameinfo,
}
_world: Final[dict[str, Any]] = {**vars(_standard), **REPLACEMENTS}


def _among_these(function: Any) -> Any:
    """A function of the standard library that finds the names of this module in place of its
    own."""
    made = FunctionType(
        function.__code__, _world, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    return made


create_connection = _among_these(_standard.create_connection)
create_server = _among_these(_standard.create_server)
fromfd = _among_these(_standard.fromfd)
getfqdn = _among_these(_standard.getfqdn)
socketpair = _among_these(_standard.socketpair)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_standard, name)


# ---- the original's


def wait_read(
    fileno: int, timeout: float | None = None, timeout_exc: BaseException | None = None
) -> None:
    """Waits until a descriptor can be read, for at most timeout seconds unless that is None or 0.
    Raises timeout_exc, or else server.timeout, when the time is over; otherwise as
    server.trampoline()."""
    _wait_for(fileno, timeout, timeout_exc, read=True)


def wait_write(
    fileno: int, timeout: float | None = None, timeout_exc: BaseException | None = None
) -> None:
    """The same until it can be written."""
    _wait_for(fileno, timeout, timeout_exc, write=True)


def wait_readwrite(
    fileno: int, timeout: float | None = None, timeout_exc: BaseException | None = None
) -> None:
    """The same until it can be read or written."""
    _wait_for(fileno, timeout, timeout_exc, read=True, write=True)


def _wait_for(
    fileno: int, timeout: float | None, timeout_exc: BaseException | None, **events: bool
) -> None:
    try:
        trampoline(fileno, timeout=timeout, **events)
    except _late:
        if timeout_exc is None:
            raise
        raise timeout_exc from None
