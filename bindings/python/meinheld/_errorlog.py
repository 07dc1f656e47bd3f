"""Where errors of applications go that no request can tell: logging's "meinheld.error", or an
object of the user's."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from typing import Any

from meinheld._response import ErrorLog, ExcInfo

_logger = logging.getLogger("meinheld.error")


def to_logging(message: str, exc_info: ExcInfo | None) -> None:
    """An ErrorLog that is logging's."""
    try:
        _logger.error("%s", message, exc_info=exc_info)
    except Exception:  # a filter's, or that of a handler that does not keep its errors to itself
        with suppress(Exception):  # what writing to stderr may raise
            traceback.print_exc()


def to_nowhere(message: str, exc_info: ExcInfo | None) -> None:
    """An ErrorLog that keeps nothing."""


def to_object(logger: Any) -> ErrorLog:
    """One that calls logger.error(type, value, traceback). Raises TypeError if there is none."""
    if not callable(getattr(logger, "error", None)):
        raise TypeError(f"an error logger has a method error(type, value, tb): {logger!r}")

    def log(message: str, exc_info: ExcInfo | None) -> None:
        try:
            if exc_info is None:
                logger.error(RuntimeError, RuntimeError(message), None)
            else:
                logger.error(*exc_info)
        except Exception as exc:
            failed = (type(exc), exc, exc.__traceback__)
            to_logging(f"the error logger failed at: {message}", failed)

    return log
