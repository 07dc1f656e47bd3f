"""gunicorn's logger as the server sees it: an error log, wsgi.errors, and whether its access log is
to be told of requests."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from gunicorn.glogging import Logger

from meinheld._errors import ErrorStream
from meinheld._response import ErrorLog, ExcInfo

if TYPE_CHECKING:
    from gunicorn.config import Config


def error_log(log: Logger) -> ErrorLog:
    """An error log of the server's that is gunicorn's."""

    def tell(message: str, exc_info: ExcInfo | None) -> None:
        log.error("%s", message, exc_info=exc_info)

    return tell


class LogStream(ErrorStream):
    """wsgi.errors: the files of gunicorn's error log, which may be opened again at any time."""

    __slots__ = ()

    def _streams(self) -> Iterable[TextIO]:
        handlers = logging.getLogger("gunicorn.error").handlers
        streams = (getattr(handler, "stream", None) for handler in handlers)
        return [stream for stream in streams if stream is not None]


def wants_access(log: Logger, cfg: Config) -> bool:
    """Whether log.access() does anything: a logger that has its own, as statsd's has, may count
    requests where no line is written."""
    if getattr(log.access, "__func__", None) is not Logger.access:
        return True
    enabled = getattr(log, "access_log_enabled", None)
    if enabled is None:  # before gunicorn 25
        syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        files = (cfg.accesslog, cfg.logconfig, cfg.logconfig_dict, cfg.logconfig_json)
        enabled = any(files) or syslog
    return bool(enabled)
