"""The gateway of PEP 3333: calls the application for each request, and sends what it answers.

A Gateway serves one run. For a request without a body the application is called from its
MHPY_REQUEST; one with a body goes to the Uploads first, mostly until the body is complete. What it
answers is sent by the Sender, but for the plainest answer of all. Who keeps something for a request
asks for MHPY_FINISH, which clears what is left; one for which nothing is kept ends without a
word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, Final

from greenlet import GreenletExit

from meinheld._accesslog import Ends
from meinheld._body import LEAVING, send_result
from meinheld._client import CLIENT
from meinheld._environ import Application, Environ, Place, Plans
from meinheld._errors import ERRORS
from meinheld._events import Event, Texts
from meinheld._exceptions import ClientDisconnected, Interruption
from meinheld._files import FileWrapper
from meinheld._forwarded import Forwarded
from meinheld._hub import VERSION, tell_ends
from meinheld._input import NO_INPUT
from meinheld._locals import forget, installed
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._pool import Pool
from meinheld._response import (
    ALL,
    NOTHING,
    SHARE,
    ErrorLog,
    ExcInfo,
    Known,
    NothingMore,
    Response,
    Responses,
)
from meinheld._sender import BAD_REQUEST, BORROW, FAILED, UNAVAILABLE, Sender
from meinheld._trouble import describe
from meinheld._uploads import Uploads
from meinheld.common import Request
from meinheld.middleware import CONTINUATION_KEY, unwrap

Layer = Callable[[Application], Application]

# The part of a request's name that is its slot.
_SLOT: Final = 0xFFFFFFFF

# Looking it up in lib costs as much as a tenth of the call.
_answer_made: Final = lib.mhpy_answer_made


def _called(app: Application) -> Application:
    """What calling app comes to. CPython calls a method written in Python on the stack that is
    there, but an object with such a __call__ on another piece of C stack, of 800 bytes."""
    call = type(app).__call__
    return MethodType(call, app) if isinstance(call, FunctionType) else app


def layered(app: Application, layers: Iterable[Layer]) -> Application:
    """app with layers around it, the innermost first."""
    for layer in layers:
        app = layer(app)
    return app


@dataclass(frozen=True)
class Service:
    """What a Gateway serves, and how."""

    app: Application
    places: list[Place]  # the loop's listeners in their order
    log: ErrorLog
    buffer: int  # bytes of a body above which it goes to a file
    ends: Ends | None = None  # who is to be told of the requests' ends
    variables: dict[str, Any] | None = None  # what each environ has besides (check_variables)
    stream: bool = False  # whether app is called without waiting for bodies
    forwarded: Forwarded | None = None  # what proxies may say
    layers: Sequence[Layer] = ()  # what is put around app, the innermost first


class Gateway:
    """Serves one application in one loop."""

    pool: Pool | None = None  # the threads in which it calls the application, if it does
    counted: Callable[[], object]  # as many requests have ended as were to be counted

    def __init__(self, service: Service, responses: Responses | None = None) -> None:
        """responses: who sends the application's, if that runs in other threads."""
        # The middleware would be a call for each request, and in those that wait a frame.
        inner, self._continues = unwrap(service.app)
        inner = layered(_called(inner), service.layers)
        self._ends = ends = service.ends
        self._app = ends.wrap(inner) if ends else inner
        self._log = log = service.log
        self._sender = Sender(log)
        self._responses: Responses = responses or self._sender
        self._uploads = Uploads(
            self._responses, log, service.buffer, service.stream, self._serve_uploaded
        )
        self._plans = Plans(
            service.places,
            {
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": "http",
                "wsgi.input": NO_INPUT,
                "wsgi.input_terminated": True,
                "wsgi.errors": ERRORS,
                "wsgi.multithread": responses is not None,
                "wsgi.multiprocess": True,
                "wsgi.run_once": False,
                "wsgi.file_wrapper": FileWrapper,
                "meinheld.client": CLIENT,
                "SERVER_SOFTWARE": f"meinheld/{VERSION}",
                "SCRIPT_NAME": "",
                **({CONTINUATION_KEY: None} if self._continues else {}),
                **(service.variables or {}),
            },
            service.forwarded,
        )
        self._peers = self._plans.peers
        self._has_locals = installed()
        self._known: dict[int, Known] = {}
        self._anything = Known(self._responses, {})  # for requests that are no known head
        self.shape = self._plans.learn
        self.peer = self._plans.meet

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop
        self._seat = loop.seat
        self._sender.attach(loop)
        self._uploads.attach(loop)
        if self._ends:
            self._ends.attach(loop)
            tell_ends(loop.hub)

    # ---- the loop's events

    def request(self, number: int, slot: int, gen: int, peer: int) -> None:
        """A request whose head is known has come."""
        try:
            known = self._known[number]
            environ = known.environ.copy()
            environ |= self._peers[peer]
        except KeyError:
            self._refuse_torn(gen << 32 | slot)
            return
        self._serve(slot, gen, environ, known)

    def first(
        self, name: int, plan: int, flags: int, events: Iterator[Event], texts: Texts
    ) -> None:
        """Any other request has come."""
        environ, known = self._learn(plan, flags, next(events), texts)
        if environ is None:
            self._refuse_torn(name)
        elif flags and flags & lib.MHPY_HAS_BODY:
            if self._ends:
                self._ends.begin(name, environ)
            self._uploads.begin(name, environ, flags)
        else:
            self._serve(name & _SLOT, name >> 32, environ, known)

    def _learn(
        self, plan: int, flags: int, more: Event, texts: Texts
    ) -> tuple[Environ | None, Known]:
        """environ of a request; None if its strings, or its peer, are lost. And what is known of
        its head."""
        pieces, peer, block, head = more
        strings = texts.take(pieces)
        met = self._peers.get(peer)
        known = self._anything
        environ = None
        if strings is not None:
            if not flags and not block:
                environ = self._plans.short_environ(plan, strings)
            if environ is None:
                environ = self._environ(plan, flags, block, strings)
        if environ is None or not met:
            return None, known
        if head:
            known = self._known[head] = Known(self._responses, environ.copy())
        environ |= met
        return environ, known

    def _environ(self, plan: int, flags: int, block: int, texts: list[str]) -> Environ | None:
        """environ of a head that is not of the plainest kind."""
        absolute = flags & lib.MHPY_ABSOLUTE != 0
        if flags & lib.MHPY_BLOCKED:
            return self._plans.environ_of_block(plan, texts, absolute)
        return self._plans.environ(plan, texts, flags & lib.MHPY_NAMED != 0, absolute, block)

    def forget(self, table: int) -> None:
        """All that was learned of a kind is void."""
        if table == lib.MHPY_HEADS:
            self._known.clear()
        elif table == lib.MHPY_BLOCKS:
            self._plans.forget_blocks()
        else:
            self._plans.forget_shapes()

    def _refuse_torn(self, name: int) -> None:
        self._log("a request head did not come in the right number of pieces", None)
        self._sender.refuse(name, BAD_REQUEST)

    def readable(self, name: int) -> None:
        """More of a body has come."""
        self._uploads.readable(name)

    def writable(self, name: int) -> None:
        """A client has caught up."""
        self._sender.writable(name)

    def returned(self, name: int) -> None:
        """A client has taken all of a large piece."""
        self._sender.returned(name)

    def finish(self, name: int, why: int, sent: int) -> None:
        """A request has ended, its client gone if it was not done."""
        self._uploads.finish(name, why)
        self._sender.finish(name, why)

    def end(self) -> None:
        """The run is over."""
        self._sender.close()

    def ended(self, name: int, status: int, sent: int, taken_us: int) -> None:
        """A request has ended, whatever was kept for it."""
        if self._ends:
            self._ends.ended(name, status, sent, taken_us)

    def refused(self, texts: list[str] | None, status: int, sent: int, taken_us: int) -> None:
        """A request that never came has been refused."""
        if self._ends and texts:
            self._ends.refused(texts, status, sent, taken_us)

    def served(self, texts: list[str] | None, status: int, sent: int, taken_us: int) -> None:
        """A request has ended that the C half has answered by itself."""
        if self._ends and texts:
            self._ends.served(texts, status, sent, taken_us)

    def open_names(self) -> list[int]:
        """The requests whose end is still to be told."""
        return self._ends.names() if self._ends else []

    def trouble(self, what: int, detail: int) -> None:
        """Something goes wrong, or is well again, that concerns no request."""
        self._log(describe(what, detail), None)

    def unsent(self, name: int, code: int) -> None:
        """An answer from another thread could not be sent as it is."""
        raise AssertionError("nothing is sent by mail")

    # ---- the application

    def _serve_uploaded(self, name: int, environ: Environ, done: Callable[[], None]) -> None:
        """Serves a request with a body, once that is complete or to be read while it comes; done is
        to be called when it has been served."""
        try:
            self._serve(name & _SLOT, name >> 32, environ, self._anything)
        finally:
            done()

    def _serve(self, slot: int, gen: int, environ: Environ, known: Known) -> None:
        """Calls the application, and sends what it answers."""
        response = Request()
        response.slot = slot
        response.gen = gen
        response.environ = environ
        response.known = known
        response.head = None
        response.share = SHARE
        response.stage = NOTHING
        response.told = response.place = None
        if self._continues:
            environ[CONTINUATION_KEY] = response
        self._seat.serving = response
        app = self._app
        try:
            result = app(environ, response.start)
            # The plainest answer, and the most frequent: [body], with a head that is known.
            head = response.head
            if type(result) is list and len(result) == 1 and head is not None:
                body = result[0]  # type: ignore[unreachable]  # start_response sets head
                if type(body) is bytes and not response.stage:
                    made = head.made
                    size = len(body)
                    if made is not None and size < BORROW:
                        code = _answer_made(self._loop.hub, slot, gen, made, body, size)
                        if code:
                            self._sender.look_into(response, code)
                        return
            send_result(self._sender, response, result)
        except BaseException as exc:
            self._end_early(response, exc)
        finally:
            response.stage = ALL
            response.environ = None  # which may lead back here
            if self._has_locals:
                forget(response)

    def _end_early(self, response: Response, exc: BaseException) -> None:
        """Deals with the exception being handled, by which a response has ended. Raises it if run()
        is to hear of it."""
        if isinstance(exc, NothingMore):
            return
        if isinstance(exc, Interruption):
            self._interrupted(response, exc)
            return
        if not self._leaves(exc):  # asyncio.CancelledError and its like mean nothing to run()
            self._fail(response, (type(exc), exc, exc.__traceback__))
            return
        if not response.ended:
            self._responses.abort(response.name)
        raise exc

    def _interrupted(self, response: Response, exc: Interruption) -> None:
        """The request is not to go on, by no fault of its application."""
        if response.ended:
            return
        if response.stage or isinstance(exc, ClientDisconnected):
            self._responses.abort(response.name)
        else:
            self._responses.refuse(response.name, UNAVAILABLE)

    def _leaves(self, exc: BaseException) -> bool:
        """Whether run() is to hear of it. GreenletExit is how the loop, once over, ends what is
        parked; from elsewhere it would end this greenlet without a word."""
        return isinstance(exc, LEAVING) and (self._loop.over or not isinstance(exc, GreenletExit))

    def _fail(self, response: Response, exc_info: ExcInfo) -> None:
        """The application failed: 500 if nothing has gone yet, else nothing more can be said. If
        only because of its request's body, that is the client's failure, and not logged."""
        error = self._uploads.error(response.name, exc_info[1])
        if not error:
            self._responses.report_failure(response, exc_info)
        if response.ended:
            return
        if response.stage:
            self._responses.abort(response.name)
        elif error:
            self._uploads.refuse(response.name, error)
        else:
            self._responses.refuse(response.name, FAILED)
