"""The gunicorn worker: ``gunicorn -k meinheld.gmeinheld.MeinheldWorker MODULE:APP``.

gunicorn is the process manager, and its Worker loads the application, takes the signals and starts
the reloader; the requests are this library's alone. docs/gunicorn.md says what becomes of each
setting.

A signal's handler only notes what is to be done, since it may interrupt anything, and gunicorn
writes a byte into the worker's pipe, which the loop watches; the loop then does it. An application
that holds the loop is what a handler interrupts by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from gunicorn.workers.base import Worker

from meinheld import _errorlog, _gunicorn_settings, _running, _sockets
from meinheld._files import ReadFileWrapper
from meinheld._gunicorn_hooks import Hooks
from meinheld._gunicorn_log import LogStream, error_log
from meinheld._gunicorn_names import name_by_host
from meinheld._hints import EARLY_HINTS
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._signals import is_served
from meinheld._watchdog import call_each

if TYPE_CHECKING:
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

__all__ = ["MeinheldWorker"]


class MeinheldWorker(Worker):
    """A process of gunicorn's that serves by meinheld."""

    alive: bool  # false: it is to end when its requests have
    _loop: Loop | None = None  # while it runs
    _drains = False  # it ends when all requests have ended
    _stops = False  # it ends at once
    _status = 0  # of the process
    _reopens = False  # its logs, soon
    _hook: Callable[[Worker], object] | None = None  # to be called before it stops

    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        """Called in the master before it serves. Raises RuntimeError for a setting that can't be
        honoured, and warns of those that have no effect."""
        _gunicorn_settings.check(cfg)
        _gunicorn_settings.tell(cfg, log)

    def init_process(self) -> None:
        """Called in the process's beginning. Raises RuntimeError as check_config(), for settings
        may have changed since, by SIGHUP."""
        _gunicorn_settings.check(self.cfg)
        super().init_process()

    def run(self) -> None:
        """Serves until the worker is to end. Raises SystemExit, if with another status than 0."""
        _gunicorn_settings.apply(self.cfg)
        settings = _running.settings
        if settings.log is _errorlog.to_logging:
            settings.log = error_log(self.log)
        hooks = Hooks(self)
        variables: dict[str, Any] = {
            "wsgi.multiprocess": self.cfg.workers > 1,
            "wsgi.errors": LogStream(),
            "wsgi.early_hints": EARLY_HINTS,
        }
        if not self.cfg.sendfile:
            variables["wsgi.file_wrapper"] = ReadFileWrapper
        self._listeners = _sockets.adopt(each.fileno() for each in self.sockets)
        layers = [hooks.wrap] if hooks.has_pre else []
        if not all(listener.port for listener in self._listeners):  # some are unix sockets
            layers.append(name_by_host)
        hosting = _running.Hosting(
            attend=self._attend,
            variables=variables,
            layers=layers,
            observer=hooks if hooks.has_any else None,
            listeners=self._listeners,
            most_requests=self.max_requests if self.cfg.max_requests else 0,
            enough=self._enough,
        )
        threads = self.cfg.threads if self.cfg.threads > 1 else settings.threads
        try:
            _running.serve(self.wsgi, threads, hosting)
        finally:
            self._close_listeners()
        if self._status:
            sys.exit(self._status)

    # ---- in the loop

    @contextmanager
    def _attend(self, loop: Loop) -> Iterator[None]:
        """The loop runs meanwhile."""
        self._main = getcurrent()
        self._loop = loop
        loop.watches.add(self.PIPE[0], self._woken, lib.MH_READ)
        # The first call has the master watch the worker, so it comes before any request.
        # self.timeout is half of what the master bears.
        self.notify()
        call_each(loop, self._beat, min(1.0, self.timeout) if self.timeout else 1.0)
        try:
            yield
        finally:
            self._loop = None

    def _beat(self) -> None:
        """Called at least every self.timeout seconds, and once a second."""
        self.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False
        self._look()

    def _woken(self, fd: int, events: int) -> None:
        """A signal has come, or the reloader has found a change."""
        with suppress(BlockingIOError):
            os.read(fd, 4096)
        self._look()

    def _look(self) -> None:
        """Does what has been noted."""
        loop = self._loop
        assert loop is not None
        if self._reopens:
            self._reopens = False
            self._reopen()
        if self._stops:
            self._call_hook()
            loop.give_up()
            loop.stop()
        elif not self.alive and not self._drains:
            self._drain(loop)

    def _reopen(self) -> None:
        try:
            self.log.reopen_files()
            _running.reopen_logs()
        except OSError:  # what can't be written costs no request
            self.log.exception("Opening the logs again")

    def _enough(self) -> None:
        """max_requests have ended."""
        self.nr = self.max_requests
        if self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
            self._look()

    def _drain(self, loop: Loop) -> None:
        self._drains = True
        if not loop.draining:  # by server.shutdown()
            loop.drain(0)
        self._close_listeners()
        loop.calls.add(monotonic() + self.cfg.graceful_timeout, self._late, False)

    def _close_listeners(self) -> None:
        """Leaves the sockets to the other processes that accept from them, if there are any."""
        for listener in self._listeners:
            listener.close()
        for sock in self.sockets:
            sock.close()

    def _late(self) -> None:
        """graceful_timeout is over."""
        self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
        self._stops = True
        self._look()

    # ---- signals; in the main thread, at any moment

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGQUIT, SIGINT: ends the worker without waiting for its requests."""
        if not self._serves():
            super().handle_quit(sig, frame)  # which raises SystemExit
        if not self._stops:
            self._hook = self.cfg.worker_int
        self._end(frame, 0)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """SIGABRT: the master has not heard of this worker for too long."""
        if not self._serves():
            super().handle_abort(sig, frame)  # which raises SystemExit
        self.alive = False
        self._hook = self.cfg.worker_abort
        self._call_hook()
        self._end(frame, 1)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """SIGUSR1: opens the logs again, soon."""
        if self._serves():
            self._reopens = True
        else:
            super().handle_usr1(sig, frame)

    def _serves(self) -> bool:
        """Whether the loop runs, and this is its process and no child of it."""
        return self._loop is not None and not self._loop.forked

    def _end(self, frame: FrameType | None, status: int) -> None:
        self.alive = False
        self._stops = True
        self._status = status
        if is_served(frame, self._main):  # it holds the loop
            self._call_hook()
            sys.exit(status)

    def _call_hook(self) -> None:
        """Calls worker_int or worker_abort, once."""
        hook, self._hook = self._hook, None
        if hook is not None:
            try:
                hook(self)
            except Exception:
                self.log.exception("Exception in worker hook")
