"""What is kept for requests, by their names, while they are sent: bodies that the C half has
borrowed, and files that it sends, to be closed in the end. MHPY_FINISH gives it back."""

from __future__ import annotations

import sys
from contextvars import Context, copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from greenlet import GreenletExit

from meinheld._files import FileWrapper
from meinheld._locals import forget
from meinheld._native import lib
from meinheld._response import ErrorLog, ExcInfo, Response
from meinheld._seat import seats

if TYPE_CHECKING:
    from meinheld._native import CData


class Sent:
    """A file that is being sent, until its response has ended. Its close() is the application's,
    and finds what that has kept for the request."""

    __slots__ = ("_context", "_file", "_locals", "_response", "title")

    def __init__(self, response: Response, file: FileWrapper) -> None:
        self.title = response.title()
        self._file = file
        self._response = response
        self._context: Context = copy_context()
        self._locals: Any = getattr(response, "locals", None)
        if self._locals is not None:
            del response.locals  # which would end with it

    def close(self) -> None:
        """Closes it. Raises what that does."""
        seat = seats[get_ident()]
        serving, seat.serving = seat.serving, self._response
        if self._locals is not None:
            self._response.locals = self._locals
        try:
            self._context.run(self._file.close)
        finally:
            seat.serving = serving
            forget(self._response)


class Keeper:
    """Keeps it for who sends responses, and tells the log of what has gone wrong with them."""

    def __init__(self, log: ErrorLog) -> None:
        self._log = log
        self._lent: dict[int, CData] = {}
        self._files: dict[int, Sent] = {}

    def give_back(self, name: int, why: int) -> Sent | None:
        """A request has ended. Returns its file, which is to be closed, if it had one."""
        self._lent.pop(name, None)
        sent = self._files.pop(name, None)
        if sent is not None and why == lib.MH_FINISH_FILE:
            self._log(f"{sent.title}: its file became shorter, or could not be read", None)
        return sent

    def close_file(self, sent: Sent) -> None:
        """Closes a file whose response has ended; there is nobody any more to answer if that
        fails. Raises what means something to run()."""
        try:
            sent.close()
        except (KeyboardInterrupt, SystemExit, GreenletExit):
            raise
        except BaseException:
            self._log(f"{sent.title}: closing its file failed", cast(ExcInfo, sys.exc_info()))

    def report_failure(self, response: Response, exc_info: ExcInfo) -> None:
        """Tells the log of what the application has raised."""
        self._log(f"{response.title()} failed", exc_info)

    def report_length(self, response: Response) -> None:
        """Tells the log of a body that is not as long as it was to be."""
        self._log(
            f"{response.title()}: the body is not as long as its Content-Length says,"
            f" {response.announced()}",
            None,
        )
