"""Signal handlers may wake, put, take and publish in the middle of any of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from harness import PATIENCE, wait_until
from interrupted import Scene, at_every_instruction
from meinheld._parking import EXPIRED
from meinheld._waiter import Waiter
from meinheld.sync import Channel, Empty, Event, Full, Queue, channel
from waiting import SHORT, begin, everything_in, waiting_in


def test_a_wait_is_ended_once_whatever_interrupts_its_end() -> None:
    def scene() -> Scene:
        waiter = Waiter()
        ended: list[tuple[str, bool]] = []

        def check() -> None:
            (value,) = [value for value, woke in ended if woke]
            assert waiter.wait() == value

        return (
            lambda: ended.append(("first", waiter.wake("first"))),
            lambda: ended.append(("handler", waiter.wake("handler"))),
            check,
        )

    at_every_instruction(scene)


def test_a_wait_that_times_out_while_it_is_woken_does_either() -> None:
    def scene() -> Scene:
        waiter = Waiter()
        results: list[object] = []
        woke: list[bool] = []

        def check() -> None:
            assert results == ["value" if woke[0] else EXPIRED]

        return (
            lambda: results.append(waiter.wait(0)),
            lambda: woke.append(waiter.wake("value")),
            check,
        )

    at_every_instruction(scene)


def in_time(wait: Callable[[], object], wake: Callable[[], object]) -> Scene:
    """That wait(), of SHORT seconds, is ended by a wake() that comes before it or in it."""
    began = time.monotonic()
    woken: list[float] = []
    results: list[object] = []

    def handle() -> None:
        wake()
        woken.append(time.monotonic() - began)

    def check() -> None:
        # Late ones come when the time is over. They may be early on a slow machine, not the others.
        assert results[0] or woken[0] > SHORT / 2

    return lambda: results.append(wait()), handle, check


def test_no_wake_is_lost_that_comes_as_a_wait_begins() -> None:
    def for_event() -> Scene:
        event = Event()
        return in_time(lambda: event.wait(SHORT), event.set)

    def for_message() -> Scene:
        topic: Channel[str] = Channel()
        reader = topic.subscribe()
        return in_time(lambda: reader.get_all(SHORT), lambda: topic.publish("a"))

    at_every_instruction(for_event)
    at_every_instruction(for_message)


def test_no_item_is_lost_that_is_put_as_a_wait_begins_or_ends() -> None:
    def scene() -> Scene:
        queue: Queue[str] = Queue()
        got: list[str] = []

        def get() -> bool:
            try:
                got.append(queue.get(SHORT))
            except Empty:
                return False
            return True

        operate, handle, check = in_time(get, lambda: queue.put_nowait("item"))

        def check_all() -> None:
            check()
            assert got + everything_in(queue) == ["item"]

        return operate, handle, check_all

    at_every_instruction(scene)


def test_no_room_is_lost_that_is_made_as_a_wait_begins_or_ends() -> None:
    def scene() -> Scene:
        queue: Queue[int] = Queue(1)
        queue.put(1)
        got: list[int] = []

        results: list[bool] = []

        def put() -> bool:
            try:
                queue.put(2, SHORT)
            except Full:
                results.append(False)
            else:
                results.append(True)
            return results[0]

        operate, handle, check = in_time(put, lambda: got.append(queue.get_nowait()))

        def check_all() -> None:
            check()
            assert got == [1]
            assert everything_in(queue) == ([2] if results[0] else [])
            assert not queue._putters

        return operate, handle, check_all

    at_every_instruction(scene)


def test_a_put_that_interrupts_a_put_loses_nothing_and_wakes_both() -> None:
    def scene() -> Scene:
        queue: Queue[int] = Queue()
        futures = waiting_in(queue, 2)

        def check() -> None:
            assert sorted(future.result(PATIENCE) for future in futures) == [1, 2]
            assert queue.qsize() == 0

        return lambda: queue.put_nowait(1), lambda: queue.put_nowait(2), check

    at_every_instruction(scene)


def test_a_get_that_interrupts_a_put_takes_what_nobody_has_taken() -> None:
    def scene() -> Scene:
        queue: Queue[int] = Queue()
        (future,) = waiting_in(queue)
        taken: list[int] = []

        def take() -> None:
            with suppress(Empty):
                taken.append(queue.get_nowait())

        def check() -> None:
            if taken:
                assert not future.done()
                queue.put_nowait(2)
                assert future.result(PATIENCE) == 2
            assert taken or future.result(PATIENCE) == 1

        return lambda: queue.put_nowait(1), take, check

    at_every_instruction(scene)


def test_a_put_that_interrupts_a_get_from_a_full_queue_loses_nothing() -> None:
    def scene() -> Scene:
        queue: Queue[str] = Queue(1)
        queue.put("a")
        putter = begin(lambda: queue.put("b", PATIENCE))
        wait_until(lambda: queue._putters, "waited")
        got: list[str] = []
        put: list[str] = []

        def handle() -> None:
            with suppress(Full):
                queue.put_nowait("c")
                put.append("c")

        def check() -> None:
            while len(got) < 2 + len(put):
                got.append(queue.get(PATIENCE))
            assert got[0] == "a"
            assert sorted(got) == ["a", "b", *put]
            assert putter.result(PATIENCE) is None
            assert queue.qsize() == 0

        return lambda: got.append(queue.get_nowait()), handle, check

    at_every_instruction(scene)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_publish_that_interrupts_another_gets_a_number_of_its_own(size: int) -> None:
    def scene() -> Scene:
        topic: Channel[str] = Channel(size)
        topic.publish("before")
        reader = topic.subscribe()
        ids: list[int] = []

        def handle() -> None:
            ids.extend(topic.publish("handler") for _ in range(3))

        def check() -> None:
            assert sorted(ids) == [*range(reader.id + 1, reader.id + 5)]
            messages = reader.get_all(0)
            assert len(messages) + reader.missed == 4
            assert len(messages) == min(size, 4)
            assert topic.publish("after") == max(ids) + 1
            assert reader.get(0) == "after"

        return lambda: ids.append(topic.publish("outer")), handle, check

    at_every_instruction(scene)


def test_a_topic_that_is_made_while_it_is_made_is_one() -> None:
    count = 0

    def scene() -> Scene:
        nonlocal count
        count += 1
        name = f"made in a handler {count}"

        def check() -> None:
            topic = channel(name)
            assert sorted(topic.subscribe(0).get_all(0)) == ["handler", "outer"]
            topic.clear()

        return (
            lambda: channel(name).publish("outer"),
            lambda: channel(name).publish("handler"),
            check,
        )

    at_every_instruction(scene)
