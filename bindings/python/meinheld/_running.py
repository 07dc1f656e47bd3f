"""What a run is made of: the settings, what listens, a loop with its gateway and its log.

server.py is the original's face of it; the gunicorn worker has another (gmeinheld.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import Any

from meinheld import _errorlog, _hub, _locals, _tasks
from meinheld._accesslog import AccessLog, Ends, Observer, OpenLog
from meinheld._environ import Application, Place
from meinheld._forwarded import Forwarded
from meinheld._limits import Limits
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._pooled import PooledGateway
from meinheld._proxyprotocol import OFF
from meinheld._response import ErrorLog
from meinheld._signals import Signals
from meinheld._sockets import Listener
from meinheld._static import StaticFiles
from meinheld._watchdog import Heartbeat, WatchedSeat, call_each, watched
from meinheld._wsgi import Gateway, Layer, Service


def _nothing() -> None:
    pass


class Settings:
    """What the setters of server.py set."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.proxy_protocol = OFF
        self.client_body_buffer_size = 1024 * 1024
        self.stream_request_body = False
        self.backlog = 1024
        self.picoev_max_fd = 1024
        self.threads = 0
        self.max_suspended = 0
        self.graceful_timeout = 0.0
        self.block_warning = 0.0
        self.watchdog: Callable[[], object] | None = None
        self.fast_watchdog: tuple[int, int, float] | None = None
        self.statics: dict[bytes, StaticFiles] = {}
        self.environ: dict[str, str] = {}
        self.forwarded: Forwarded | None = None
        self.log: ErrorLog = _errorlog.to_logging
        self.access_log: AccessLog | None = None
        self.access_logger: Callable[[Any], object] | None = None


def _attend(loop: Loop) -> Signals:
    return Signals(loop, settings.graceful_timeout)


@dataclass(frozen=True)
class Hosting:
    """What a run has besides, if its process is another server's."""

    # What stands around the loop while it runs, and has it stop.
    attend: Callable[[Loop], AbstractContextManager[object]] = _attend
    variables: dict[str, Any] = field(default_factory=dict)  # of environ
    layers: Sequence[Layer] = ()  # around the application, the innermost first
    observer: Observer | None = None
    listeners: Sequence[Listener] | None = None  # in place of those of listen(); the caller's
    most_requests: int = 0  # after so many have ended, the next is called; 0: never
    enough: Callable[[], object] = _nothing


# What those of server.py change.
settings = Settings()
listeners: list[Listener] = []
# How to open again what the last run closed.
reopen: list[Callable[[], list[Listener]]] = []
_logs: dict[Loop, OpenLog] = {}  # of those that have one
# Guards these against runs that begin or end at once, in several threads.
lock = RLock()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global lock
    lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)


def serve(app: Application, threads: int, hosting: Hosting) -> None:
    """Serves app on what listens until its loop ends, in so many threads, 0 for that of the loop
    alone. Raises as server.run(), but always KeyboardInterrupt."""
    _locals.check()
    loop, served = _begin(app, threads, hosting)
    try:
        with hosting.attend(loop):
            try:
                for listener in served:
                    _hub.listen(loop.hub, listener.fileno(), listener.place.wildcard)
                for prefix, files in list(settings.statics.items()):
                    _hub.serve_files(loop.hub, prefix, files)
                with watched(loop):
                    loop.run()
            finally:
                _end(loop)  # while no signal can interrupt it
    finally:
        _end(loop)  # if the signals could not be taken


def reopen_logs() -> None:
    """Goes on with new files of the access logs' names. Raises OSError."""
    with lock:
        for log in _logs.values():
            log.reopen()


def _begin(app: Application, threads: int, hosting: Hosting) -> tuple[Loop, list[Listener]]:
    """A loop that is to serve app, and the listeners that it is to serve."""
    with lock:
        served = list(_listening() if hosting.listeners is None else hosting.listeners)
        log = settings.access_log.open() if settings.access_log else None
        try:
            places = [listener.place for listener in served]
            gateway = _make_gateway(app, places, log, threads, hosting)
            loop = _make_loop(gateway, log, hosting)
        except BaseException:
            if log:
                log.close()
            raise
        loop.at_drain.append(_stop_listening)
        _tasks.begin(loop)
        if log:
            _logs[loop] = log
        if settings.fast_watchdog is not None:
            call_each(loop, Heartbeat(loop, *settings.fast_watchdog).beat)
        elif settings.watchdog is not None:
            call_each(loop, settings.watchdog)
    return loop, served


def _make_loop(gateway: Gateway, log: OpenLog | None, hosting: Hosting) -> Loop:
    hub = _hub.new_hub(settings.limits, settings.picoev_max_fd, settings.proxy_protocol)
    loop = Loop(hub, gateway, settings.log, pool=gateway.pool, max_held=settings.max_suspended)
    try:
        if settings.block_warning:
            loop.seat = WatchedSeat(loop, settings.block_warning)
        gateway.attach(loop)
        if log:
            _hub.write_access_log(hub, log.fd, log.log.native)
        gateway.counted = hosting.enough
        lib.mhpy_tell_count(hub, hosting.most_requests)
    except BaseException:
        loop.close()
        raise
    return loop


def _make_gateway(
    app: Application, places: list[Place], log: OpenLog | None, threads: int, hosting: Hosting
) -> Gateway:
    """What calls app, in so many threads."""
    logger, lines = settings.access_logger, log.log.format if log else None
    ends = None
    if logger or lines or hosting.observer:
        ends = Ends(settings.log, logger, lines, hosting.observer)
    layers = list(hosting.layers)
    if settings.forwarded:
        layers.append(partial(settings.forwarded.wrap, log=settings.log))
    service = Service(
        app,
        places,
        settings.log,
        settings.client_body_buffer_size,
        ends=ends,
        variables={**settings.environ, **hosting.variables},
        stream=settings.stream_request_body,
        forwarded=settings.forwarded,
        layers=layers,
    )
    return PooledGateway(service, threads) if threads else Gateway(service)


def _end(loop: Loop) -> None:
    """Frees a loop; with the last one, nothing listens any more. A second call has no effect."""
    loop.close()
    with lock:
        if loop in _tasks.running:
            _tasks.end(loop)
            log = _logs.pop(loop, None)
            if log:
                log.close()
            if not _tasks.running:
                _close_listeners()


def _listening() -> list[Listener]:
    """What listens, opened again if a run before has closed it. Raises RuntimeError if nothing
    does."""
    if not listeners:
        _open_again()
    if not listeners:
        raise RuntimeError("nothing listens: call listen() before run()")
    return listeners


def _open_again() -> None:
    """Listens where the last run did: everywhere, or nowhere if that fails."""
    opened: list[Listener] = []
    try:
        for again in reopen:
            opened.extend(again())
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    listeners.extend(opened)


def _stop_listening() -> None:
    """A loop drains. Without one that accepts, who connects is to hear at once that nobody will."""
    with lock:
        if all(loop.draining for loop in _tasks.running):
            _close_listeners()


def _close_listeners() -> None:
    if not listeners:
        return
    reopen[:] = [listener.reopen for listener in listeners if listener.reopen]
    for listener in listeners:
        listener.close()
    listeners.clear()
