"""Has other people's code wait in the loop.

    from meinheld import patch
    patch.patch_all()  # first of all

    import redis  # and requests, pymysql, ...

What waits then for a socket in a request or a task serves others meanwhile; docs/patch.md says
what does so and what does not. It is for applications that the loop itself runs: in a pool of
threads, as in programs without a server, all this blocks its thread as before.

Each function may be called any number of times, and from any thread. To be called before others
import what is patched: names that modules hold already are replaced as well, but not what is kept
elsewhere, and not the bases of classes."""

from __future__ import annotations

import select
import socket as _socket
import sys
import threading
import time
from typing import Any

from meinheld import _blocking, _locals, _select, msocket

__all__ = [
    "patch_all",
    "patch_local",
    "patch_psycopg",
    "patch_psycopg2",
    "patch_select",
    "patch_socket",
    "patch_ssl",
    "patch_time",
]


def patch_all(socket: bool = True, aggressive: bool = True, local: bool = False) -> None:
    """Patches `socket` and `ssl`, and if aggressive what else of the standard library waits:
    `select` and `time.sleep`; if local, `threading.local`, by patch_local()."""
    if socket:
        patch_socket(aggressive)
    if aggressive:
        patch_time()
    if local:
        patch_local()


def patch_socket(aggressive: bool = True) -> None:
    """Puts meinheld.msocket's names into `socket`, and has `ssl` work over them; if aggressive,
    patches `select` too."""
    for name, ours in msocket.REPLACEMENTS.items():
        _replace(_socket, name, ours)
    reduction: Any = sys.modules.get("multiprocessing.reduction")
    if reduction is not None:  # it has registered how the other kind is sent to a process
        reduction.register(msocket.socket, reduction._reduce_socket)
    patch_ssl()
    if aggressive:
        patch_select()


def patch_ssl() -> None:
    """Has SSLContext.wrap_socket() return sockets that wait in the loop, over any sockets."""
    try:
        import ssl
    except ImportError:  # an interpreter without it
        return
    from meinheld._tls import SSLSocket

    ssl.SSLContext.sslsocket_class = SSLSocket


def patch_select() -> None:
    """Has select.select() and select.poll() wait in the loop, and what the standard library does
    by them: selectors.PollSelector and SelectSelector, subprocess.run(). Not select.epoll, on which
    asyncio stands: its loops are their thread's, and must not be left while they run."""
    import selectors

    _replace(select, "select", _select.select)
    _replace(select, "poll", _select.poll)
    poll_selector: Any = selectors.PollSelector
    poll_selector._selector_cls = _select.poll
    select_selector: Any = selectors.SelectSelector
    select_selector._select = staticmethod(_select.select)


def patch_time() -> None:
    """Has time.sleep() wait in the loop."""
    _replace(time, "sleep", _blocking.sleep)


def patch_local() -> None:
    """Has threading.local keep values by requests, in place of threads (docs/locals.md). To be
    called before anything makes or subclasses some: server.run() looks."""
    _replace(threading, "local", _locals.local)
    _locals.install()


def _replace(module: Any, name: str, ours: Any) -> None:
    """Replaces a name of the module, and wherever a module has imported it."""
    theirs = getattr(module, name)
    if theirs is ours:
        return
    setattr(module, name, ours)
    for key, other in list(sys.modules.items()):
        # _socket and its like stay as they are.
        changes = key == "__main__" or not key.startswith(("_", "meinheld."))
        if changes and getattr(other, "__dict__", {}).get(name) is theirs:
            setattr(other, name, ours)


def patch_psycopg() -> None:
    """Has psycopg (3) wait in the loop, in C and in Python. Raises ImportError if it is not
    there."""
    from meinheld import _psycopg

    _psycopg.patch()


def patch_psycopg2() -> None:
    """Has psycopg2 wait in the loop, by its wait callback, which is the process's: a connection can
    do no COPY and has no large objects then. Raises ImportError if it is not there."""
    from psycopg2 import OperationalError, extensions

    from meinheld._descriptors import READ, WRITE, wait_or_block

    events = {extensions.POLL_READ: READ, extensions.POLL_WRITE: WRITE}

    def wait(connection: Any) -> None:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            if state not in events:
                raise OperationalError(f"poll() returned {state}")
            wait_or_block(connection.fileno(), events[state])

    extensions.set_wait_callback(wait)
