"""The gateway of a loop that leaves the application to the threads of a pool.

The loop's thread does what it does otherwise, but where it would call the application it puts the
request's name into the pool's queue. What the thread that takes it out needs is kept by that name,
so that a request which has ended while it waited, because its client has left, is never begun."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Optional

from meinheld._body import send_result
from meinheld._environ import Environ
from meinheld._kept import Sent
from meinheld._loop import Loop
from meinheld._mail import MailSender
from meinheld._native import ffi, lib
from meinheld._pool import Pool
from meinheld._response import ALL, NOTHING, Known
from meinheld._seat import seats
from meinheld._wsgi import Gateway, Service, layered
from meinheld.common import Request

# A request that waits for a thread, and what is to be called when it has been served.
_Waiting = tuple[int, int, Environ, Known, Optional[Callable[[], None]]]


class PooledGateway(Gateway):
    """Serves one application in one loop and the threads of its pool."""

    def __init__(self, service: Service, threads: int) -> None:
        """threads: their number. Its pool is to be the loop's."""
        self._mail = MailSender(service.log)
        super().__init__(service, self._mail)
        self.pool = Pool(threads, self._serve_waiting, self._mail.close)
        self._put = self.pool.put
        app = layered(service.app, service.layers)
        self._app = service.ends.follow(app) if service.ends else app
        self._waiting: dict[int, _Waiting] = {}
        self._closing: dict[int, Sent] = {}

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs. Raises MemoryError."""
        super().attach(loop)
        self._mail.attach(loop)

    # ---- in the loop's thread

    def _serve(self, slot: int, gen: int, environ: Environ, known: Known) -> None:
        name = gen << 32 | slot
        if self._ends:
            self._ends.begin(name, environ)
        self._waiting[name] = (slot, gen, environ, known, None)
        self._put(name)

    def _serve_uploaded(self, name: int, environ: Environ, done: Callable[[], None]) -> None:
        self._waiting[name] = (name & 0xFFFFFFFF, name >> 32, environ, self._anything, done)
        self._put(name)

    def finish(self, name: int, why: int, sent: int) -> None:
        """A request has ended, its client gone if it was not done."""
        super().finish(name, why, sent)
        self._drop(name)
        file = self._mail.give_back(name, why)
        if file is not None:
            self._close_later(name, file)

    def end(self) -> None:
        """The run is over."""
        super().end()
        for name in list(self._waiting):
            self._drop(name)
        for name in list(self._closing):  # the end of the run has emptied the queue
            self._put(name)
        for name, file in self._mail.abandon():
            self._close_later(name, file)

    def _drop(self, name: int) -> None:
        """Has a request that still waits for a thread never begin."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            _close(waiting)

    def _close_later(self, name: int, file: Sent) -> None:
        """Has a thread close a file, which is the application's."""
        self._closing[name] = file
        self._put(name)

    def unsent(self, name: int, code: int) -> None:
        """An answer could not be sent as it is."""
        what = ffi.string(lib.mh_strerror(code)).decode("ascii")
        self._log(f"a response could not be sent: {what}", None)

    # ---- in a thread of the pool

    def _serve_waiting(self, name: int) -> None:
        """Calls the application, and sends what it answers; or closes the file of a request that
        has ended. Raises what run() is to hear of."""
        waiting = self._waiting.pop(name, None)
        if waiting is None:
            file = self._closing.pop(name, None)
            if file is not None:
                self._mail.close_file(file)
            return
        response = Request()
        response.slot, response.gen, response.environ, response.known, _ = waiting
        response.head = None
        response.share = 0
        response.stage = NOTHING
        response.stream = None
        response.told = response.place = None
        response.of_head = waiting[2]["REQUEST_METHOD"] == "HEAD"
        seat = seats[get_ident()]
        seat.serving = response
        try:
            send_result(self._mail, response, self._app(waiting[2], response.start))
        except BaseException as exc:
            self._end_early(response, exc)
        finally:
            seat.serving = None
            response.stage = ALL
            response.environ = None
            _close(waiting)


def _close(waiting: _Waiting) -> None:
    """A request is over, or will never begin."""
    done = waiting[4]
    if done is not None:
        done()
