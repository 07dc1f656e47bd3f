"""Events and queues between plain threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from harness import PATIENCE, wait_until
from meinheld._parking import ThreadParking
from meinheld.sync import Channel, Empty, Event, Full, Queue, channel
from waiting import SHORT, begin, everything_in, waiting_in

# ---- Event


def test_an_event_wakes_all_who_wait_and_is_seen_by_who_comes_later() -> None:
    event = Event()
    futures = [begin(lambda: event.wait(PATIENCE)) for _ in range(3)]
    wait_until(lambda: event._bell.waiting == 3, "waited")
    assert not event.is_set()
    event.set()
    assert [future.result(PATIENCE) for future in futures] == [True] * 3
    assert event.is_set()
    assert event.wait()
    assert not event._bell.waiting


def test_a_wait_for_an_event_has_a_timeout() -> None:
    event = Event()
    assert not event.wait(SHORT)
    assert not event.wait(0)
    event.set()
    event.clear()
    assert not event.wait(0)
    assert not event._bell.waiting


def test_who_was_woken_goes_on_even_if_the_event_is_cleared_at_once() -> None:
    event = Event()
    future = begin(lambda: event.wait(PATIENCE))
    wait_until(lambda: event._bell.waiting, "waited")
    event.set()
    event.clear()
    assert future.result(PATIENCE) is True


# ---- Queue


def test_a_queue_is_first_in_first_out() -> None:
    queue: Queue[int] = Queue()
    for number in range(5):
        queue.put(number)
    assert queue.qsize() == 5
    assert everything_in(queue) == [0, 1, 2, 3, 4]
    with pytest.raises(Empty):
        queue.get_nowait()


def test_items_go_to_those_who_wait_in_their_order() -> None:
    queue: Queue[int] = Queue()
    futures = waiting_in(queue, 5)
    for number in range(5):
        queue.put_nowait(number)
    assert [future.result(PATIENCE) for future in futures] == [0, 1, 2, 3, 4]


def test_those_who_wait_for_room_are_let_in_in_their_order() -> None:
    queue: Queue[int] = Queue(2)
    futures = []
    queue.put(0)
    queue.put(1)
    for number in (2, 3, 4):
        futures.append(begin(lambda number=number: queue.put(number, PATIENCE)))  # type: ignore[misc]
        wait_until(lambda: len(queue._putters) == len(futures), "waited")
    with pytest.raises(Full):
        queue.put_nowait(5)
    assert [queue.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [future.result(PATIENCE) for future in futures] == [None] * 3


def test_a_full_queue_is_full_for_as_long_as_it_is_said() -> None:
    queue: Queue[int] = Queue(1)
    queue.put(1, SHORT)
    with pytest.raises(Full):
        queue.put(2, SHORT)
    with pytest.raises(Empty):
        Queue[int]().get(SHORT)
    assert everything_in(queue) == [1]
    assert not queue._putters
    queue.put(3, SHORT)


def test_none_and_what_is_false_are_items() -> None:
    queue: Queue[Any] = Queue()
    (future,) = waiting_in(queue)
    queue.put(None)
    assert future.result(PATIENCE) is None
    queue.put(0)
    assert queue.get() == 0


def test_an_item_for_who_has_just_gone_goes_to_the_next() -> None:
    queue: Queue[str] = Queue()
    first, second = waiting_in(queue, 2)
    # As its loop does when a client leaves: the wait has ended, and its code has not gone on yet.
    gone = next(iter(queue._getters))
    place, gone._place = gone._place, ThreadParking()
    assert gone.interrupt(KeyError("gone"))
    queue.put_nowait("item")
    assert second.result(PATIENCE) == "item"
    place.resume()
    with pytest.raises(KeyError):
        first.result(PATIENCE)


@pytest.mark.parametrize("maxsize", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_among_many_of_whom_some_give_up(
    seed: int, maxsize: int
) -> None:
    queue: Queue[tuple[int, int]] = Queue(maxsize)
    over = threading.Event()

    def produce(who: int) -> list[tuple[int, int]]:
        chance = random.Random(f"{seed} producer {who}")
        put = []
        for number in range(300):
            with suppress(Full):
                queue.put((who, number), chance.choice([0, 0.0005, PATIENCE]))
                put.append((who, number))
        return put

    def consume(who: int) -> list[tuple[int, int]]:
        chance = random.Random(f"{seed} consumer {who}")
        got = []
        while not over.is_set() or queue.qsize():
            with suppress(Empty):
                got.append(queue.get(chance.choice([0, 0.0005, 0.005])))
        return got

    with ThreadPoolExecutor(12) as pool:
        consumers = [pool.submit(consume, who) for who in range(6)]
        producers = [pool.submit(produce, who) for who in range(6)]
        put = [item for producer in producers for item in producer.result()]
        over.set()
        got = [consumer.result() for consumer in consumers]
    assert sorted(item for items in got for item in items) == sorted(put)
    for items in got:  # each sees those of one producer in their order
        for who in range(6):
            mine = [item for item in items if item[0] == who]
            assert mine == sorted(mine)
    assert not queue._getters and not queue._putters


# ---- wrong arguments


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), True, "1"])
def test_a_timeout_is_seconds(timeout: Any) -> None:
    waits: list[Callable[[Any], object]] = [
        Event().wait,
        Queue[int]().get,
        lambda timeout: Queue[int]().put(1, timeout),
        Channel[int]().subscribe().get,
        Channel[int]().subscribe().get_all,
    ]
    for wait in waits:
        with pytest.raises((TypeError, ValueError), match="timeout must be"):
            wait(timeout)


def test_other_arguments_are_checked() -> None:
    wrong: Any
    for wrong in (-1, "1", True):
        with pytest.raises((TypeError, ValueError), match="maxsize must be"):
            Queue(wrong)
    for wrong in (0, "1", True):
        with pytest.raises((TypeError, ValueError), match="size must be"):
            Channel(wrong)
    for wrong in (1.0, b"1", True):
        with pytest.raises(TypeError, match="after must be"):
            Channel[int]().subscribe(wrong)
    wrong = b"name"
    with pytest.raises(TypeError, match="name must be"):
        channel(wrong)
