"""TLS over the sockets of msocket: what OpenSSL wants to read or to write is waited for in the loop
where the caller can."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeVar

from meinheld import msocket
from meinheld._descriptors import READ, WRITE

Result = TypeVar("Result")

# PyPy's module asks the socket for its timeout, and would wait by itself. To it, there is none
# while it is at work.
_ASKS: Final = sys.implementation.name == "pypy"


class SSLSocket(ssl.SSLSocket, msocket.socket):  # type: ignore[misc]
    """What SSLContext.wrap_socket() returns. The calls of its first base do what they do to the
    second, below them, which waits."""

    _at_work: tuple[int, ...] = ()  # threads in which OpenSSL is

    if _ASKS:

        def gettimeout(self) -> float | None:
            return 0.0 if get_ident() in self._at_work else self._timeout

    def _patiently(
        self, what: str, timeout: float | None, function: Callable[..., Result], *args: Any
    ) -> Result:
        """function(*args), as soon as it need not wait for the peer, for at most timeout
        seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            if _ASKS:
                self._at_work += (get_ident(),)
            try:
                return function(*args)
            except ssl.SSLWantReadError:
                events = READ
                if timeout == 0.0:
                    raise
            except ssl.SSLWantWriteError:
                events = WRITE
                if timeout == 0.0:
                    raise
            finally:
                if _ASKS:
                    threads = list(self._at_work)
                    threads.remove(get_ident())
                    self._at_work = tuple(threads)
            try:
                self._wait(events, deadline)
            except socket.timeout:  # in 3.9 not yet TimeoutError
                raise socket.timeout(f"The {what} operation timed out") from None

    def do_handshake(self, block: bool = False) -> None:
        # Not by that of the first base, which asks for the timeout, and sets it again.
        timeout = None if block and self._timeout == 0.0 else self._timeout
        self._check_connected()  # type: ignore[attr-defined]
        sslobj: Any = self._sslobj  # type: ignore[attr-defined]
        self._patiently("handshake", timeout, sslobj.do_handshake)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        return self._patiently("read", self._timeout, super().read, len, buffer)

    def write(self, data: Any) -> int:
        return self._patiently("write", self._timeout, super().write, data)

    def send(self, data: Any, flags: int = 0) -> int:
        return self._patiently("write", self._timeout, super().send, data, flags)

    def unwrap(self) -> Any:
        return self._patiently("read", self._timeout, super().unwrap)
