"""The migrating loop: parking, resuming, timeouts, contexts, and the end of a run."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from greenlet import getcurrent, greenlet
from meinheld._events import Event, Texts
from meinheld._hub import new_hub
from meinheld._limits import Limits
from meinheld._loop import MAX_SPARES, MOST_DUE, Loop
from meinheld._native import ffi, lib
from meinheld._parking import EXPIRED, Parking


def no_log(message: str, exc_info: object) -> None:
    raise AssertionError(message)


class NoRequests:
    """The gateway of a loop that is only posted to."""

    def request(self, number: int, slot: int, gen: int, peer: int) -> None:
        raise AssertionError("nothing listens")

    def first(
        self, name: int, plan: int, flags: int, events: Iterator[Event], texts: Texts
    ) -> None:
        raise AssertionError("nothing listens")

    def shape(self, shape: int, names: list[str]) -> None:
        raise AssertionError("nothing listens")

    def peer(self, peer: int, texts: list[str]) -> None:
        raise AssertionError("nothing listens")

    def forget(self, table: int) -> None:
        raise AssertionError("nothing listens")

    def readable(self, name: int) -> None:
        raise AssertionError("nothing listens")

    def writable(self, name: int) -> None:
        raise AssertionError("nothing listens")

    def returned(self, name: int) -> None:
        raise AssertionError("nothing listens")

    def finish(self, name: int, why: int, sent: int) -> None:
        raise AssertionError("nothing listens")

    def end(self) -> None:
        pass

    def ended(self, name: int, status: int, sent: int, taken_us: int) -> None:
        raise AssertionError("nothing listens")

    def refused(self, texts: list[str] | None, status: int, sent: int, taken_us: int) -> None:
        raise AssertionError("nothing listens")

    def served(self, texts: list[str] | None, status: int, sent: int, taken_us: int) -> None:
        raise AssertionError("nothing listens")

    def open_names(self) -> list[int]:
        return []

    def trouble(self, what: int, detail: int) -> None:
        raise AssertionError("nothing listens")

    def unsent(self, name: int, code: int) -> None:
        raise AssertionError("nothing listens")

    def counted(self) -> None:
        raise AssertionError("nothing listens")


def new_loop() -> Loop:
    return Loop(new_hub(Limits(), 16), NoRequests(), no_log)


def run(*functions: Callable[[Loop], object]) -> Loop:
    """Runs a loop that calls the functions in it, until one of them stops it."""
    loop = new_loop()
    for function in functions:
        loop.post(lambda function=function: function(loop))  # type: ignore[misc]
    loop.run()
    return loop


# ---- parking and resuming


def test_park_returns_what_resume_is_given() -> None:
    got: list[object] = []

    def parks(loop: Loop) -> None:
        parking = Parking(loop)
        loop.post(lambda: parking.resume("value"))
        got.append(parking.park())
        loop.stop()

    run(parks)
    assert got == ["value"]


def test_a_resume_that_comes_before_its_park_is_kept() -> None:
    got: list[object] = []

    def parks(loop: Loop) -> None:
        first, other = Parking(loop), Parking(loop)
        for value in range(3):
            first.resume(value)
        loop.post(lambda: other.resume("other"))
        got.append(other.park())  # the first's resumes are carried out meanwhile
        got.extend(first.park() for _ in range(3))
        loop.stop()

    run(parks)
    assert got == ["other", 0, 1, 2]


def test_a_resume_never_switches() -> None:
    order: list[str] = []

    def parks(loop: Loop) -> None:
        parking = Parking(loop)

        def resumes() -> None:
            order.append("before")
            parking.resume()
            order.append("after")

        loop.post(resumes)
        parking.park()
        order.append("resumed")
        loop.stop()

    run(parks)
    assert order == ["before", "after", "resumed"]


def test_a_thread_can_resume() -> None:
    got: list[object] = []

    def parks(loop: Loop) -> None:
        for value in range(100):
            parking = Parking(loop)
            thread = threading.Thread(target=parking.resume, args=(value,))
            thread.start()
            got.append(parking.park())
            thread.join()
        loop.stop()

    run(parks)
    assert got == list(range(100))


def test_many_threads_lose_no_resume() -> None:
    count = 2000
    got: list[object] = []

    def parks(loop: Loop) -> None:
        parking = Parking(loop)

        def resumes(start: int) -> None:
            for value in range(start, start + count):
                parking.resume(value)

        threads = [threading.Thread(target=resumes, args=(n * count,)) for n in range(4)]
        for thread in threads:
            thread.start()
        got.extend(parking.park() for _ in range(4 * count))
        for thread in threads:
            thread.join()
        loop.stop()

    run(parks)
    assert sorted(got) == list(range(4 * count))  # type: ignore[type-var]


def test_resumes_are_carried_out_in_their_order() -> None:
    order: list[int] = []
    parkings: list[Parking] = []

    def parks(loop: Loop) -> None:
        parking = Parking(loop)
        parkings.append(parking)
        order.append(parking.park())  # type: ignore[arg-type]
        if len(order) == 5:
            loop.stop()

    def resumes(loop: Loop) -> None:
        for value in (3, 0, 4, 1, 2):
            parkings[value].resume(value)

    run(*[parks] * 5, resumes)
    assert order == [3, 0, 4, 1, 2]


def test_a_storm_of_resumes_does_not_starve_the_rest() -> None:
    """Two that resume each other for ever must leave room for a timer's event."""
    seen: list[object] = []

    def storm(loop: Loop) -> None:
        def again() -> None:
            if not seen:
                loop.post(again)

        loop.post(again)
        seen.append(Parking(loop).park(0.01))
        loop.stop()

    run(storm)
    assert seen == [EXPIRED]


def test_a_socket_has_its_turn_among_thousands_of_resumes() -> None:
    done = 0
    seen: list[int] = []

    def storm(loop: Loop) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            parking = Parking(loop)

            def count() -> None:
                nonlocal done
                done += 1
                if done == 1:
                    theirs.send(b"x")
                if done == 20 * MOST_DUE:
                    parking.resume()

            loop.watches.add(ours.fileno(), lambda fd, events: seen.append(done), lib.MH_READ)
            for _ in range(20 * MOST_DUE):
                loop.post(count)
            parking.park()
            loop.watches.remove(ours.fileno())
        loop.stop()

    run(storm)
    assert seen[0] <= MOST_DUE


# ---- timeouts


def test_park_returns_expired_after_its_timeout() -> None:
    got: list[object] = []
    start = time.monotonic()

    def parks(loop: Loop) -> None:
        got.append(Parking(loop).park(0.05))
        loop.stop()

    run(parks)
    assert got == [EXPIRED]
    assert time.monotonic() - start >= 0.05


def test_timeouts_end_in_the_order_of_their_deadlines() -> None:
    order: list[float] = []

    def parks(timeout: float) -> Callable[[Loop], None]:
        def function(loop: Loop) -> None:
            assert Parking(loop).park(timeout) is EXPIRED
            order.append(timeout)
            if len(order) == 4:
                loop.stop()

        return function

    run(*map(parks, (0.06, 0.02, 0.0, 0.04)))
    assert order == [0.0, 0.02, 0.04, 0.06]


def test_a_resume_in_time_cancels_the_timeout_for_later_parks_too() -> None:
    got: list[object] = []

    def parks(loop: Loop) -> None:
        parking, clock = Parking(loop), Parking(loop)
        loop.post(lambda: parking.resume("in time"))
        got.append(parking.park(0.02))
        assert clock.park(0.05) is EXPIRED  # past the first timeout
        loop.post(lambda: parking.resume("second"))
        got.append(parking.park())
        loop.stop()

    loop = run(parks)
    assert got == ["in time", "second"]
    assert not loop._timers


def test_a_resume_and_a_timeout_in_one_turn_give_one_of_each() -> None:
    """Whichever is first wins; the other does not end a later park by mistake."""
    got: list[object] = []

    def parks(loop: Loop) -> None:
        parking = Parking(loop)

        def late() -> None:  # both are due when the loop looks
            until = time.monotonic() + 0.03
            while time.monotonic() < until:
                pass
            parking.resume("value")

        loop.post(late)
        got.append(parking.park(0.01))
        loop.post(lambda: parking.resume("again"))
        got.append(parking.park())
        if got[0] is EXPIRED:
            got.append(parking.park())
        loop.stop()

    run(parks)
    assert got in (["value", "again"], [EXPIRED, "value", "again"])


# ---- wrong use


def test_only_the_loops_own_greenlet_can_park() -> None:
    def parks(loop: Loop) -> None:
        parking = Parking(loop)
        with pytest.raises(RuntimeError, match="own greenlet"):
            greenlet(parking.park).switch()
        errors: list[BaseException] = []

        def in_thread() -> None:
            try:
                parking.park()
            except RuntimeError as exc:
                errors.append(exc)

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        assert "own greenlet" in str(errors[0])
        loop.stop()

    loop = run(parks)
    with pytest.raises(RuntimeError, match="own greenlet"):
        Parking(loop).park()


def test_one_parking_holds_one_greenlet() -> None:
    def parks(loop: Loop) -> None:
        parking = Parking(loop)

        def second() -> None:
            with pytest.raises(RuntimeError, match="parked here already"):
                parking.park()
            parking.resume()

        loop.post(second)
        parking.park()
        loop.stop()

    run(parks)


def test_calls_after_the_end_of_a_run_do_no_harm() -> None:
    loop = run(lambda loop: loop.stop())
    Parking(loop).resume()
    loop.post(lambda: None)
    loop.close()
    loop.close()


@pytest.mark.parametrize("timeout", [5e-324, 1e306, 10**400])
def test_a_drain_takes_any_timeout(timeout: float) -> None:
    run(lambda loop: loop.drain(timeout))


# ---- greenlets


def test_the_recursion_depth_does_not_grow_over_10000_suspensions() -> None:
    """New loop greenlets are born on main's stack, not on that of the one that parks."""
    count = 10_000
    waiting: list[Parking] = []
    depths: set[int] = set()

    def depth() -> int:
        frame, n = sys._getframe(), 0
        while frame.f_back is not None:
            frame, n = frame.f_back, n + 1
        return n

    def parks(loop: Loop) -> None:
        parking = Parking(loop)
        waiting.append(parking)
        parking.park()
        depths.add(depth())
        waiting.pop()
        if not waiting:
            loop.stop()

    def resumes(loop: Loop) -> None:
        assert len(waiting) == count
        for parking in waiting:
            parking.resume()

    loop = new_loop()
    for _ in range(count):
        loop.post(lambda: parks(loop))
    loop.post(lambda: resumes(loop))
    loop.run()
    assert len(depths) == 1


def test_spare_greenlets_are_bounded_and_released() -> None:
    before = sum(isinstance(thing, greenlet) for thing in gc.get_objects())
    spares: list[int] = []
    waiting: list[Parking] = []

    def parks(loop: Loop) -> None:
        waiting.append(Parking(loop))
        waiting[-1].park()
        spares.append(len(loop._spares))
        if len(spares) == 3 * MAX_SPARES:
            loop.stop()

    def resumes(loop: Loop) -> None:
        for parking in waiting:
            parking.resume()

    run(*[parks] * (3 * MAX_SPARES), resumes)
    assert max(spares) == MAX_SPARES
    waiting.clear()
    gc.collect()
    assert sum(isinstance(thing, greenlet) for thing in gc.get_objects()) <= before + 1


def test_a_spare_is_taken_before_a_new_greenlet_is_made() -> None:
    seen: set[int] = set()

    def parks(loop: Loop) -> None:
        for _ in range(1000):
            parking = Parking(loop)
            loop.post(parking.resume)
            parking.park()
            seen.add(id(getcurrent()))
        loop.stop()

    loop = run(parks)
    assert len(seen) == 1
    assert not loop._spares


# ---- counts


def test_the_c_half_counts_the_timers_of_those_who_are_parked() -> None:
    counts = ffi.new("mhpy_counts *")
    timers: list[int] = []

    def count(loop: Loop) -> None:
        assert lib.mhpy_count(loop.hub, counts) == lib.MH_OK
        timers.append(counts.timers)

    def parks(loop: Loop) -> None:
        count(loop)
        parking = Parking(loop)
        loop.post(lambda: count(loop))
        loop.post(parking.resume)
        parking.park(100)
        count(loop)
        loop.stop()

    run(parks)
    assert timers == [0, 1, 0]
    assert counts.blocks > 0
    assert (counts.connections, counts.requests) == (0, 0)


def test_after_the_end_there_is_nothing_to_count_or_trim() -> None:
    loop = run(lambda loop: loop.stop())
    assert lib.mhpy_count(loop.hub, ffi.new("mhpy_counts *")) == lib.MH_ECLOSED
    assert lib.mhpy_trim(loop.hub) == lib.MH_ECLOSED


# ---- the end of a run


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_a_post_raises_reaches_run(kind: type[BaseException]) -> None:
    def raises(loop: Loop) -> None:
        raise kind("text")

    with pytest.raises(kind, match="text"):
        run(raises)


def test_what_is_raised_after_a_suspension_reaches_run() -> None:
    def raises(loop: Loop) -> None:
        parking = Parking(loop)
        loop.post(parking.resume)
        parking.park()
        raise SystemExit(7)

    with pytest.raises(SystemExit) as caught:
        run(raises)
    assert caught.value.code == 7


def test_the_end_unwinds_what_is_parked() -> None:
    left: list[int] = []

    def parks(number: int) -> Callable[[Loop], None]:
        def function(loop: Loop) -> None:
            try:
                Parking(loop).park(100 if number % 2 else None)
            finally:
                left.append(number)

        return function

    run(*map(parks, range(4)), lambda loop: loop.stop())
    assert left == [0, 1, 2, 3]


def test_who_is_unwound_can_not_park_again() -> None:
    said: list[str] = []

    def parks(loop: Loop) -> None:
        try:
            Parking(loop).park()
        finally:
            try:
                Parking(loop).park()
            except RuntimeError as exc:
                said.append(str(exc))

    run(parks, lambda loop: loop.stop())
    assert said == ["the server has stopped"]


def test_an_exception_while_unwinding_reaches_run_and_the_others_are_unwound() -> None:
    left: list[int] = []

    def parks(number: int) -> Callable[[Loop], None]:
        def function(loop: Loop) -> None:
            try:
                Parking(loop).park()
            finally:
                left.append(number)
                if number == 0:
                    raise ValueError("unwinding")

        return function

    with pytest.raises(ValueError, match="unwinding"):
        run(parks(0), parks(1), lambda loop: loop.stop())
    assert left == [0, 1]


def test_who_swallows_greenletexit_does_not_become_the_loop_again() -> None:
    after: list[str] = []

    def stubborn(loop: Loop) -> None:
        try:
            Parking(loop).park()
        except BaseException:
            after.append("swallowed")

    def stops(loop: Loop) -> None:
        loop.post(lambda: after.append("never"))
        loop.stop()

    run(stubborn, stops)
    assert after == ["swallowed"]
