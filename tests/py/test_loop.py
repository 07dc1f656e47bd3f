"""The migrating loop: parking, resuming, timeouts, contexts, and the end of a run."""

from __future__ import annotations

import contextvars
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from harness import listening_socket, wait_until
from meinheld._environ import Place
from meinheld._loop import EXPIRED, MAX_SPARES, Loop, Parking
from meinheld._wsgi import Gateway
from rawclient import Client


class NoRequests:
    """The gateway of a loop that is only posted to."""

    def request(
        self, name: int, plan: int, flags: int, length: int, pieces: int, texts: Iterator[str]
    ) -> None:
        raise AssertionError("nothing listens")

    def shape(self, shape: int, names: list[str]) -> None:
        raise AssertionError("nothing listens")

    def forget(self) -> None:
        raise AssertionError("nothing listens")

    def readable(self, name: int) -> None:
        raise AssertionError("nothing listens")

    def writable(self, name: int) -> None:
        raise AssertionError("nothing listens")

    def finish(self, name: int, why: int, sent: int) -> None:
        raise AssertionError("nothing listens")


def new_loop() -> Loop:
    return Loop(NoRequests(), max_body=1, keepalive=1, max_fds=16)


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


# ---- requests

Environ = Any
Start = Callable[..., Any]


@contextmanager
def serving(
    app: Callable[[Loop, Environ, Start], Iterable[bytes]],
) -> Iterator[Callable[[], Client]]:
    """A loop in a thread that serves app(loop, environ, start_response)."""
    problems: list[str] = []
    with listening_socket(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        gateway = Gateway(
            lambda environ, start: app(loop, environ, start),
            [Place("127.0.0.1", str(address[1]), False)],
            lambda message, exc_info: problems.append(f"{message}: {exc_info}"),
            1 << 20,
        )
        loop = Loop(gateway, max_body=1 << 20, keepalive=5, max_fds=16)
        gateway.attach(loop)
        loop.listen(sock.fileno(), False)
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield lambda: Client(address)
        finally:
            loop.post(loop.stop)
            thread.join(20)
    assert not thread.is_alive()
    assert problems == []


def test_requests_are_served_while_others_are_suspended() -> None:
    waiting: list[Parking] = []

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/wait":
            waiting.append(Parking(loop))
            body = str(waiting[-1].park()).encode()
        else:
            for number, parking in enumerate(waiting):
                parking.resume(number)
            body = b"woken"
        start("200 OK", [])
        return [body]

    with serving(app) as connect:
        clients = [connect() for _ in range(20)]
        for _ in range(2):  # a kept-alive connection's second request suspends as its first
            waiting.clear()
            for number, client in enumerate(clients):
                client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
                wait_until(lambda number=number: len(waiting) == number + 1, "suspended")  # type: ignore[misc]
            with connect() as other:
                assert other.get("/wake").body == b"woken"
            for number, client in enumerate(clients):
                assert client.read_response().body == str(number).encode()
        for client in clients:
            client.close()


def test_each_request_has_a_context_of_its_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    waiting: list[Parking] = []

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        before = variable.get("nothing")
        variable.set(environ["PATH_INFO"])
        if environ["PATH_INFO"].startswith("/wait"):
            waiting.append(Parking(loop))
            waiting[-1].park()
        elif environ["PATH_INFO"] == "/wake":
            for parking in waiting:
                parking.resume()
        start("200 OK", [])

        def body() -> Iterator[bytes]:
            yield f"{before} {variable.get()}".encode()

        return body()

    with serving(app) as connect, connect() as one, connect() as two, connect() as three:
        for client, path in ((one, "/wait1"), (two, "/wait2")):
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: len(waiting) == 2, "suspended")
        assert three.get("/plain").body == b"nothing /plain"
        assert three.get("/wake").body == b"nothing /wake"
        assert one.read_response().body == b"nothing /wait1"
        assert two.read_response().body == b"nothing /wait2"
        # Their greenlets are the loop, or spares, by now.
        assert one.get("/plain").body == b"nothing /plain"
        assert two.get("/wake").body == b"nothing /wake"


def test_a_request_with_a_body_begins_with_an_empty_context_too() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        before = variable.get("nothing")
        variable.set("left behind")
        start("200 OK", [])
        return [before.encode()]

    with serving(app) as connect, connect() as slow, connect() as quick:
        slow.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        assert quick.get().body == b"nothing"
        slow.send(b"cd")
        assert slow.read_response().body == b"nothing"


def test_a_slow_reader_suspends_its_response_and_nobody_else() -> None:
    made: list[int] = []
    piece = bytes(65536)

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        if environ["PATH_INFO"] == "/":
            return [b"quick"]

        def pieces() -> Iterator[bytes]:
            for number in range(1000):
                made.append(number)
                yield piece

        return pieces()

    with serving(app) as connect, connect() as slow, connect() as quick:
        slow.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        head = slow.read_head()
        for _ in range(50):
            assert quick.get().body == b"quick"
        assert len(made) < 1000  # 64 MB do not fit into the socket's buffers
        slow.read_body(head)
        assert len(head.body) == 1000 * len(piece)


def test_a_generator_is_closed_when_its_client_leaves() -> None:
    closed = threading.Event()

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(65536)
            finally:
                closed.set()

        return pieces()

    with serving(app) as connect:
        with connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.read_head().status == 200
        assert closed.wait(20)
