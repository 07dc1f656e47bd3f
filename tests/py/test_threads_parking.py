"""Applications that park in a pool of threads: as in the loop's thread, and until the run ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from greenlet import GreenletExit, greenlet
from harness import PATIENCE, wait_until
from meinheld._loop import Loop
from meinheld._parking import EXPIRED, Parking
from pooled import Environ, Start, plain, serving
from rawclient import request


def in_a_request(function: Callable[[Loop], object], threads: int = 2) -> list[object]:
    """What function(loop) returns or raises in a request, in a list."""
    got: list[object] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        try:
            got.append(function(running.loop))
        except RuntimeError as exc:
            got.append(exc)
        return plain(start, b"")

    with serving(app, threads) as running, running.connect() as client:
        client.get("/")
    return got


def test_a_parked_thread_gets_what_it_is_resumed_with() -> None:
    def park(loop: Loop) -> object:
        parking = Parking(loop)
        loop.post(lambda: parking.resume("from the loop"))
        first = parking.park()
        threading.Thread(target=parking.resume, args=("from a thread",)).start()
        return first, parking.park()

    assert in_a_request(park) == [("from the loop", "from a thread")]


def test_resumes_that_come_before_a_thread_parks_are_kept_in_order() -> None:
    def park(loop: Loop) -> object:
        parking = Parking(loop)
        for value in range(5):
            parking.resume(value)
        return [parking.park() for _ in range(5)]

    assert in_a_request(park) == [[0, 1, 2, 3, 4]]


def test_a_parked_thread_s_timeout_expires_and_does_not_outlive_a_resume() -> None:
    def park(loop: Loop) -> object:
        parking = Parking(loop)
        expired = parking.park(0.01)
        parking.resume("in time")
        loop.post(lambda: None)
        in_time = parking.park(0.01)
        return expired, in_time, parking.park(0.03)

    assert in_a_request(park) == [(EXPIRED, "in time", EXPIRED)]


def test_threads_resume_each_other_as_often_as_they_like() -> None:
    parkings: list[Parking] = []
    got: list[object] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        mine = int(environ["QUERY_STRING"])
        for number in range(200):
            parkings[1 - mine].resume(number)
            got.append(parkings[mine].park(PATIENCE))
        return plain(start, b"")

    with serving(app, 2) as running, running.connect() as one, running.connect() as two:
        parkings.extend(Parking(running.loop) for _ in range(2))
        one.send(request("/?0"))
        two.send(request("/?1"))
        assert one.read_response().status == two.read_response().status == 200
    assert sorted(got) == sorted([*range(200)] * 2)  # type: ignore[type-var]


def test_two_threads_can_not_park_at_one_place() -> None:
    errors: list[RuntimeError] = []
    parkings: list[Parking] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        try:
            parkings[0].park()
        except RuntimeError as exc:
            errors.append(exc)
            parkings[0].resume()
        return plain(start, b"")

    with serving(app, 2) as running, running.connect() as one, running.connect() as two:
        parkings.append(Parking(running.loop))
        one.send(request("/"))
        two.send(request("/"))
        assert one.read_response().status == two.read_response().status == 200
    assert [str(error) for error in errors] == ["something is parked here already"]


def test_only_a_request_s_own_thread_and_greenlet_can_park() -> None:
    def park(loop: Loop) -> object:
        said: list[str] = []

        def elsewhere() -> None:
            try:
                Parking(loop).park()
            except RuntimeError as exc:
                said.append(str(exc))

        greenlet(elsewhere).switch()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return len(said), "own greenlet" in said[0], "own greenlet" in said[1]

    assert in_a_request(park) == [(2, True, True)]


def test_the_end_of_the_run_unwinds_a_parked_thread_and_it_parks_no_more() -> None:
    said: list[str] = []
    parked = threading.Event()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        parking = Parking(running.loop)
        running.loop.post(parked.set)
        try:
            parking.park()
        except GreenletExit:
            said.append("unwound")
            try:
                parking.park()
            except RuntimeError as exc:
                said.append(str(exc))
            raise
        return plain(start, b"")

    with serving(app, 1) as running:
        client = running.connect()
        client.send(request("/"))
        assert parked.wait(PATIENCE)
    client.close()
    assert said == ["unwound", "the server has stopped"]


def test_the_end_of_the_run_unwinds_a_thread_that_waits_for_a_reader() -> None:
    said: list[str] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        write = start("200 OK", [])
        try:
            while True:
                write(b"x" * 100_000)
                said.append("written")
        except GreenletExit:
            said.append("unwound")
            raise

    def rests() -> bool:
        counts.append(len(said))
        return len(counts) > 100 and counts[-1] == counts[-100]

    counts: list[int] = []
    with serving(app, 1) as running, running.connect() as client:
        client.send(request("/"))
        client.read_head()
        wait_until(rests, "waited for its reader")
        running.loop.post(running.loop.stop)
        running.thread.join(PATIENCE)
    assert said[-1] == "unwound"
