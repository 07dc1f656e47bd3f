"""The loop that runs an application: takes events from the C half by the batch, and owns the
greenlets.

The migrating loop. The loop runs in a greenlet and calls the application directly, so a request
that never waits costs no switch. When one waits (:meth:`Parking.park`), its greenlet stays where it
is, with the application's frames on it, and another *loop greenlet* goes on with the same iterator
of events: a spare one, or a new one. When what it waited for has come, the loop switches back to
it; it finishes its request and is the loop from then on, while the one that switched becomes a
spare. So exactly one greenlet is the loop at any time, ``Loop._current``.

Rules that hold this together:

- New loop greenlets are born on the stack of the greenlet that called :meth:`Loop.run` (*main*),
  which is switched to for that alone. Born where the need arises, each would stand on the frames of
  the one before, until RecursionError.
- A resume never switches. It appends to a deque, from any thread, and the loop carries it out
  between two batches; as many as there are then, up to a few hundred, and no more before the next
  step, so that neither a storm of them nor a publish to thousands can starve the sockets.
- The old batch's iterator is used up before the next batch is taken, whichever greenlets took part.
  A greenlet that comes back to an iterator of long ago finds it at its end.
- Each request begins with an empty contextvars.Context: that of the greenlet is dropped if the
  request before has left one behind. Greenlets keep their contexts apart by themselves, PyPy's too,
  so this takes no call of Context().run around each request.
- Timeouts of parked greenlets are the C loop's timers. A heapq here would keep every cancelled
  entry until its time, and make each step look at the clock.

Who owns what: the Loop owns the C hub and frees it at the end of run(), after every parked greenlet
has been ended by GreenletExit; the NULL that is then in its place makes later calls harmless. A
batch is the hub's memory and is copied at once. Nothing here is to be called from another thread
but resume() and post()."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final

from greenlet import GreenletExit, getcurrent, greenlet

from meinheld._calls import Calls
from meinheld._codes import error_of
from meinheld._crossing import Argument, Crossings, Result
from meinheld._descriptors import Descriptors
from meinheld._events import Event, Gateway, Texts
from meinheld._held import Holder
from meinheld._limits import LONGEST
from meinheld._locals import check_atomic
from meinheld._native import ffi, lib
from meinheld._parking import EXPIRED, NO_TIMER, TIMER_RAN, Blocked, Parking
from meinheld._pool import Pool
from meinheld._reading import Reader
from meinheld._response import ErrorLog
from meinheld._seat import Seat, loop_seats, seats
from meinheld._switching import Switches
from meinheld._upgrades import Upgrades
from meinheld._watches import Watches

if TYPE_CHECKING:
    from meinheld._native import Batch, Hub

# Loop greenlets kept for reuse: making one costs ten switches, keeping one about 20 KiB.
MAX_SPARES: Final = 64

# Resumes carried out from one step to the next: some 5 ms of work, where a step takes 1 us.
MOST_DUE: Final = 256

# Requests that were parked when this process was forked; a greenlet that is freed is unwound.
_abandoned: Final[list[object]] = []

# Come for each request, if they do; looking one up in lib costs more than all else of comparing it.
_FIRST: Final = lib.MHPY_REQUEST
_ENDED: Final = lib.MHPY_ENDED

# What is still told when a run ends.
_ENDS: Final = (_ENDED, lib.MHPY_REFUSED, lib.MHPY_SERVED, lib.MHPY_LOG)


class Loop:
    """One run of a server. All but resume() and post() belongs to the thread of run()."""

    def __init__(
        self,
        hub: Hub,
        gateway: Gateway,
        log: ErrorLog,
        *,
        pool: Pool | None = None,
        max_held: int = 0,
    ) -> None:
        """hub: of new_hub(), freed by close(); log: of what its tasks raise; pool: threads that run
        with the loop; max_held: requests that may wait for an event at once, 0 for any number."""
        self.hub = hub
        self.log = log
        self.seat = Seat(self)
        self.holder = Holder(self, max_held)
        self._gateway = gateway
        self._request, self._first = gateway.request, gateway.first  # one for all greenlets
        self._batch: Batch = ffi.new("mhpy_batch *")
        self.reader = Reader(self)
        self._events: Iterator[Event] = iter(())
        self._texts = Texts()
        self._main: greenlet | None = None
        self._result: object = None  # on its way from _carry_out to _park
        self._current: greenlet | None = None  # the loop greenlet that is the loop
        self._next: greenlet | None = None  # whom main is to switch to
        self._spares: list[greenlet] = []
        self._switches = Switches(self)
        self._parked: dict[Parking, None] = {}  # in order of parking
        self._pool = pool
        self._crossings = Crossings(self)
        self._failed: BaseException | None = None  # of a thread, when the run was over
        self._timers: dict[int, Parking | Calls] = {}
        self.calls = Calls(self)
        self._patient = True  # a drain waits for more than the C half
        self.watches = Watches(self)
        self.descriptors = Descriptors(self)
        self.upgrades = Upgrades(self)
        self.at_drain = [self.holder.stop, self.upgrades.drain]  # called when one has begun
        # A parking, one with a value or EXPIRED, or the function of a post(). What resumes most
        # often makes no tuple, for each brings a collection of garbage nearer (common.Request).
        self._ready: deque[Parking | tuple[Parking, Any] | Callable[[], None]] = deque()
        self._due = 0  # of _ready: how many are carried out before the next step
        self._over = self._ending = self._draining = self._drained = False
        self._pid = os.getpid()
        self._thread = 0  # of run()
        # Guards the end of the hub against wakeups; signal handlers may come while it is held,
        # hence re-entrant.
        self._lock = RLock()
        self._waking = False

    # ---- the run

    def run(self) -> None:
        """Serves until stop(), or until a drain has ended; then the loop is of no more use.

        Raises what a signal handler, a post or an application's KeyboardInterrupt or SystemExit
        raised; OSError, MemoryError, RuntimeError (in a forked child)."""
        self._main = getcurrent()
        self._thread = get_ident()
        before = seats.get(self._thread)
        seats[self._thread] = self.seat
        try:
            if self._pool is not None:
                self._pool.start(self, self._fail)
            turner: greenlet | None = None
            turn = self._turn  # one for all greenlets
            while not self._over:
                self._switches.enter(self._main, turner or greenlet(turn))
                turner, self._next = self._next, None
        finally:
            try:
                self._end()
            finally:
                del seats[self._thread]
                if before is not None:  # a run inside another's application
                    seats[self._thread] = before

    def _fail(self, exc: BaseException) -> None:
        """Ends run() with exc, of a thread of the pool."""

        def fail() -> None:
            lib.mhpy_mail_deliver(self.hub)  # what the thread has sent before it raised that
            raise exc

        if not self._over:
            self.post(fail)
        elif not isinstance(exc, GreenletExit):  # by which it was told of the end
            self._failed = exc

    def give_up(self) -> None:
        """Lets run() end, once it comes to that, without waiting for threads of its pool that still
        run an application. From any thread, and from a signal handler."""
        if self._pool is not None:
            self._pool.give_up()

    def hurry(self) -> None:
        """The same, if run() waits for nothing else already; then no post is heard any more."""
        if self._ending:
            self.give_up()

    def stop(self) -> None:
        """Ends run() after the batch in hand; what is open then is aborted."""
        self._over = True

    @property
    def current(self) -> greenlet | None:
        """The greenlet that is the loop."""
        return self._current

    @property
    def over(self) -> bool:
        """run() is ending, or has ended."""
        return self._over

    @property
    def forked(self) -> bool:
        """This is a child of the process that run() is in."""
        return self._pid != os.getpid()

    def drain(self, timeout: float) -> None:
        """Stops accepting and ends run() when the last connection has gone; open exchanges are
        aborted after timeout seconds, if that is not 0. A second drain stops at once, and waits for
        no thread."""
        if self._draining:
            self.stop()
            self.give_up()
            return
        # 0 has a meaning of its own, so what rounds to it is made 1.
        ms = max(1, round(min(timeout, LONGEST) * 1000)) if timeout > 0 else 0
        code = lib.mhpy_drain(self.hub, ms)
        if code < 0:
            raise error_of(code, lib.mhpy_errno(self.hub), "draining")
        self._draining = True  # and its listeners may be closed, by whichever thread finds so
        if ms:
            self.calls.add(time.monotonic() + ms / 1000, self._stop_waiting, False)
        for begun in self.at_drain:
            begun()

    def _stop_waiting(self) -> None:
        """The time of a drain is over: what is scheduled or upgraded is not waited for either."""
        self._patient = False
        self.end_if_drained()

    @property
    def draining(self) -> bool:
        """A drain has begun."""
        return self._draining

    def post(self, function: Callable[[], None]) -> None:
        """Calls function in the loop, soon. From any thread, and from a signal handler."""
        self._ready.append(function)
        self._wake()

    # ---- what a request or a task does

    def is_own_thread(self) -> bool:
        """Whether the caller is the thread of run(), and not one of the pool."""
        return get_ident() == self._thread

    def may_wait(self) -> bool:
        """Whether the caller may wait here: it is the greenlet that is the loop, or a thread of its
        pool, and in no greenlet of the application's making."""
        return self._current is getcurrent() or (
            self._pool is not None and self._pool.has_current()
        )

    def fd_of(self, name: int) -> int:
        """The descriptor of a request's connection; negative once that has gone."""
        return lib.mhpy_fd(self.hub, name)

    def arm(self, seconds: float) -> None:
        """Has the calls that are due be made in so many seconds."""
        timer = lib.mhpy_timer(self.hub, math.ceil(min(seconds, LONGEST) * 1000))
        if timer < 0:
            raise error_of(timer, 0, "arming a timer")
        self._timers[timer] = self.calls

    def end_if_drained(self) -> None:
        """Ends the run, if a drain has ended and there is nothing more that it waits for."""
        if self._drained and not (self._patient and (self.calls.awaited or self.upgrades)):
            self._over = True

    def pause(self) -> None:
        """Lets all else that is ready have a turn first, where the caller may wait at all."""
        if not self._over and self.may_wait():
            parking = Parking(self)
            parking.resume()
            parking.park()

    def check_request(self) -> None:
        """Raises RuntimeError unless called in the greenlet that is the loop, or in a thread of its
        pool: only there can a request wait."""
        if not self.may_wait():
            raise RuntimeError(
                "a request can only wait in its own greenlet and thread, until it ends"
            )

    def call(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        """Calls function in the loop's thread, where alone the C half may be called, and waits for
        its result if that is another thread. Raises what it raises, and as park() does."""
        if self._current is getcurrent():
            return function(argument)
        self.check_request()
        return self._crossings.call(function, argument)

    def admit(self, enter: Callable[[], None]) -> bool:
        """Calls enter, unless the run is over or another process's. From any thread."""
        with self._lock:
            if self._over or self.forked:
                return False
            enter()
            return True

    # ---- the loop greenlets

    def _turn(self) -> None:
        """What every loop greenlet runs, and main never. A request that waits keeps a frame of each
        function from here to where it does, so there are few."""
        me = self._current = getcurrent()
        request, first = self._request, self._first
        loop_seats[me] = self.seat
        try:
            while True:
                for kind, a, b, c in self._events:
                    if kind > 0:
                        if me.gr_context is not None:
                            me.gr_context = None
                        request(kind, a, b, c)
                    elif kind == _FIRST:
                        if me.gr_context is not None:
                            me.gr_context = None
                        first(a, b, c, self._events, self._texts)
                    else:
                        self._other(kind, a, b, c)
                if self._over:
                    break
                if not self._due:
                    self._step()
                elif not self._carry_out(me):
                    break
        finally:
            del loop_seats[me]
        assert self._main is not None
        self._switches.leave(self._main)

    def _step(self) -> None:
        """Waits for events and copies them out of the hub."""
        batch = self._batch
        self.seat.serving = None
        self._waking = False
        n = lib.mhpy_step(self.hub, 0 if self._ready else -1, batch)
        if n > 0:
            self._copy(n)
        elif n < 0:
            raise error_of(n, lib.mhpy_errno(self.hub), "waiting for events")
        self._due = min(len(self._ready), MOST_DUE)

    def _copy(self, n: int) -> None:
        """Copies a batch of n integers out of the hub."""
        ints = iter(ffi.unpack(self._batch.ints, n))
        self._events = zip(ints, ints, ints, ints)
        if self._batch.text_n and not self._texts.split(self._batch):
            # What they were to tell of is learned anew.
            lib.mhpy_forget(self.hub)
            for table in (lib.MHPY_SHAPES, lib.MHPY_BLOCKS, lib.MHPY_HEADS):
                self._gateway.forget(table)

    def _other(self, kind: int, a: int, b: int, c: int) -> None:
        """Every event but a request."""
        gateway = self._gateway
        if kind == _ENDED:
            gateway.ended(a, b, c, next(self._events)[1])
        elif kind == lib.MHPY_PEER:
            gateway.peer(a, self._texts.take(b) or [])
        elif kind == lib.MHPY_READABLE:
            self._fresh_context()
            gateway.readable(a)
        elif kind == lib.MHPY_WRITABLE:
            gateway.writable(a)
        elif kind == lib.MHPY_RETURNED:
            gateway.returned(a)
        elif kind == lib.MHPY_FINISH:
            self._fresh_context()
            if b != lib.MH_FINISH_UPGRADED:
                self.holder.client_left(a)
            gateway.finish(a, b, c)
        elif kind == lib.MHPY_HANGUP:
            self.holder.client_left(a)
        elif kind == lib.MHPY_REFUSED:
            gateway.refused(self._texts.take(a), b, c, next(self._events)[1])
        elif kind == lib.MHPY_SERVED:
            gateway.served(self._texts.take(a), b, c, next(self._events)[1])
        elif kind == lib.MHPY_SHAPE:
            names = self._texts.take(b)
            if names is not None:
                gateway.shape(a, names)
        elif kind == lib.MHPY_FORGET:
            gateway.forget(a)
        elif kind == lib.MHPY_TIMER:
            self._expire(a)
        elif kind == lib.MHPY_WATCH:
            self.watches.call(a, b)
        elif kind == lib.MHPY_LOG:
            gateway.trouble(a, b)
        elif kind == lib.MHPY_UNSENT:
            gateway.unsent(a, b)
        elif kind == lib.MHPY_COUNTED:
            gateway.counted()
        elif kind == lib.MHPY_DRAINED:
            self._drained = True
            self.end_if_drained()
        else:
            raise RuntimeError(f"the C half speaks of an event {kind} that is not known here")

    def _fresh_context(self) -> None:
        """For an application that is called by a way that is not the shortest."""
        me = getcurrent()
        if me.gr_context is not None:
            me.gr_context = None

    def _carry_out(self, me: greenlet) -> bool:
        """Carries out the oldest resume or post. Returns False if this greenlet is to end, since
        there are spares enough."""
        self._due -= 1
        ready = self._ready.popleft()
        value: object = None
        if type(ready) is Parking:
            parking = ready
        elif isinstance(ready, tuple):
            parking, value = ready
        else:
            self.seat.serving = None
            ready()
            return True
        turner = parking._greenlet
        if value is EXPIRED:
            if parking._timer != TIMER_RAN:
                return True  # a resume was faster
        elif turner is None:
            if parking._kept is None:
                parking._kept = deque()
            parking._kept.append(value)
            return True
        elif parking._timer >= 0:
            lib.mhpy_cancel(self.hub, parking._timer)
            del self._timers[parking._timer]
        assert turner is not None
        parking._timer = NO_TIMER
        parking._greenlet = None
        del self._parked[parking]
        if type(turner) is Blocked:
            turner.give(value)
            return True
        self._result = value
        if len(self._spares) == MAX_SPARES:
            self._next = turner
            return False
        self._spares.append(me)
        self._switches.switch(me, turner)
        self._current = me
        return True

    def _park(self, parking: Parking, timeout: float | None) -> object:
        me = self._current
        if me is None or me is not getcurrent():
            if self._pool is not None and self._pool.has_current():
                return self._crossings.park(parking, timeout)
            raise RuntimeError("only a request's own greenlet can be parked, and not after its end")
        if self._over:
            raise RuntimeError("the server has stopped")
        seat = self.seat
        if "django.db" in sys.modules:
            check_atomic(seat)
        if timeout is not None:
            self._arm(parking, timeout)
        parking._greenlet = me
        self._parked[parking] = None
        serving, seat.serving = seat.serving, None
        try:
            assert self._main is not None
            self._switches.switch(me, self._spares.pop() if self._spares else self._main)
        finally:  # GreenletExit at the end of the run leaves here
            seat.serving = serving
        # Back, by _carry_out or by main.
        self._current = me
        result, self._result = self._result, None
        return result

    def _arm(self, parking: Parking, timeout: float) -> None:
        """Has the wait that begins at parking end by EXPIRED."""
        timer = lib.mhpy_timer(self.hub, max(0, round(min(timeout, LONGEST) * 1000)))
        if timer < 0:
            raise error_of(timer, 0, "arming a timeout")
        parking._timer = timer
        self._timers[timer] = parking

    def place(self, parking: Parking, blocked: Blocked, timeout: float | None) -> None:
        """Has a thread of the pool wait at parking from now on. Raises MemoryError."""
        if timeout is not None:
            self._arm(parking, timeout)
        parking._greenlet = blocked
        self._parked[parking] = None

    def _expire(self, timer: int) -> None:
        waits = self._timers.pop(timer, None)
        if isinstance(waits, Calls):
            waits.fire()
        elif waits is not None:
            waits._timer = TIMER_RAN
            self._ready.append((waits, EXPIRED))

    def _wake(self) -> None:
        """Makes the step under way, or the next, return. Once is enough until the loop has looked
        at what is ready: it says that it is about to look, then looks; the caller has appended,
        then asks."""
        if not self._waking:
            self._waking = True
            with self._lock:
                lib.mhpy_wakeup(self.hub)

    # ---- the end

    def _end(self) -> None:
        """Ends every parked greenlet and thread, and the hub, and waits for the pool."""
        pool = None if self.forked else self._pool
        if pool is not None:
            pool.clear()
        with self._lock:
            self._over = self._ending = True
        raised = self._tell_ends()  # whoever comes back to the events finds them used up
        self._ready.clear()
        self._due = 0
        if self.forked:
            # They are the parent's, and so is what their finally blocks would do to the outside
            # world.
            _abandoned.append((self._parked.copy(), self._gateway))
            self._parked.clear()
        self._crossings.end()
        while self._parked:
            parking = next(iter(self._parked))
            del self._parked[parking]
            turner, parking._greenlet = parking._greenlet, None
            assert turner is not None
            if type(turner) is Blocked:
                turner.throw()
                continue
            assert isinstance(turner, greenlet)
            self._current = turner
            try:
                self._switches.throw(turner)
            except BaseException as exc:
                raised = exc
        self._current = None
        while self._spares:
            self._switches.throw(self._spares.pop())
        self.upgrades.end(self.forked)
        if not self.forked:
            raised = self._end_requests() or raised
        self._timers.clear()
        self.watches.clear()
        self.close()
        if not self.forked:
            try:
                self._gateway.end()
            except BaseException as exc:
                raised = exc
        if pool is not None:
            pool.close()
            pool.join()
            raised = self._failed or raised
        if raised is not None:
            raise raised

    def _tell_ends(self) -> BaseException | None:
        """Of the events in hand, only those of requests that have ended and of trouble still
        count. Returns what telling them has raised."""
        raised: BaseException | None = None
        for kind, a, b, c in self._events:
            try:
                if kind == _FIRST:
                    self._texts.take(next(self._events)[0])
                elif kind in (lib.MHPY_SHAPE, lib.MHPY_PEER):
                    self._texts.take(b)
                elif kind in _ENDS:
                    self._other(kind, a, b, c)
            except BaseException as exc:
                raised = exc
        return raised

    def _end_requests(self) -> BaseException | None:
        """Cuts off those whose end the gateway wants to be told, and tells it. Returns what that
        has raised."""
        names = self._gateway.open_names()
        if not names:
            return None
        lib.mhpy_drain(self.hub, 0)  # the step below is to accept no more
        for name in names:
            lib.mhpy_abort(self.hub, name)
        n = lib.mhpy_step(self.hub, 0, self._batch)
        if n > 0:
            self._copy(n)
        return self._tell_ends()

    def close(self) -> None:
        """Frees the C half; run() does it at its end. A second call has no effect."""
        with self._lock:
            hub, self.hub = self.hub, ffi.NULL
        lib.mhpy_free(hub)
