"""Logging as the original had it. Importing this module makes a Logger, ``logger``, and gives the
server both its logs."""

from __future__ import annotations

import fcntl
import logging
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

from meinheld import server
from meinheld._environ import Environ
from meinheld._logformat import Format, entry_of

_DEFAULT: Final = '%(h)s %(l)s %(u)s [%(t)s] "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def _format(text: str) -> Format:
    """A format in which D and T are the original's."""
    return Format(
        text,
        D=lambda entry: entry.taken_us // 1000,
        T=lambda entry: entry.taken_us / 1000000,
    )


class Logger:
    """Writes both logs through logging: "meinheld.access" and "meinheld.error", each with a handler
    to stderr.

    access_log_format takes the atoms of set_access_log(), but that D are milliseconds and T seconds
    with their fraction, as they were here, and {Name}o is always "-". It may be set on the class, a
    subclass or an object."""

    LOG_LEVELS: Final = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }

    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = "%Y-%m-%d %H:%M:%S"
    access_fmt = "%(message)s"
    access_log_format = _DEFAULT

    def __init__(self, cfg: object = None) -> None:
        """cfg is not looked at, as it never was. Raises ValueError if the format is none."""
        self.error_log = logging.getLogger("meinheld.error")
        self.access_log = logging.getLogger("meinheld.access")
        self._format = _format(self.access_log_format)
        self.setup(cfg)

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises ValueError for a format that is none."""
        if name == "access_log_format":
            self._format = _format(value)
        super().__setattr__(name, value)

    def setup(self, cfg: object) -> None:
        """Gives both logs their level and handler; those of an earlier Logger are replaced."""
        self.error_log.setLevel(logging.ERROR)
        self.access_log.setLevel(logging.INFO)
        _set_handler(self.error_log, logging.Formatter(self.error_fmt, self.datefmt))
        _set_handler(self.access_log, logging.Formatter(self.access_fmt))

    # ---- what the server calls

    def access(self, environ: Environ) -> None:
        """Logs a request that has ended, by an environ with the keys of set_access_logger()."""
        if self._format.text != self.access_log_format:  # the class's has changed
            self._format = _format(self.access_log_format)
        self.access_log.info("%s", self._format.line(entry_of(environ)))

    def error(
        self, exc: type[BaseException] | None, val: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Logs an exception."""
        error = val if val is not None else exc() if exc is not None else None
        info = (type(error), error, tb) if error is not None else None
        self.error_log.error("%s", error, exc_info=info)

    # ---- for everybody

    def critical(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """logging's, on the error log; so are the next ones."""
        self.error_log.critical(msg, *args, **kwargs)

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """See critical."""
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """See critical."""
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """See critical."""
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: str, *args: Any) -> None:
        """See critical."""
        self.error_log.exception(msg, *args)

    def log(self, lvl: int | str, msg: str, *args: Any, **kwargs: Any) -> None:
        """See critical; the level may be a name of LOG_LEVELS."""
        level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        self.error_log.log(level, msg, *args, **kwargs)

    # ---- the files of handlers that the user has added

    def reopen_files(self) -> None:
        """Opens the files of all FileHandlers anew, after they have been moved away."""
        for handler in self._file_handlers():
            handler.acquire()
            try:
                if handler.stream:
                    handler.stream.close()
                    handler.stream = handler._open()
            finally:
                handler.release()

    def close_on_exec(self) -> None:
        """Makes the files of all FileHandlers close on exec."""
        for handler in self._file_handlers():
            if handler.stream:
                fd = handler.stream.fileno()
                fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)

    def _file_handlers(self) -> Iterator[logging.FileHandler]:
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                if isinstance(handler, logging.FileHandler):
                    yield handler


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """One that a Logger has set."""


def _set_handler(log: logging.Logger, formatter: logging.Formatter) -> None:
    for old in [handler for handler in log.handlers if isinstance(handler, _Handler)]:
        log.removeHandler(old)
    handler = _Handler(sys.stderr)
    handler.setFormatter(formatter)
    log.addHandler(handler)


logger: Final = Logger()
server.set_access_logger(logger)
server.set_error_logger(logger)
