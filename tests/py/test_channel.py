"""Channels between plain threads."""

from __future__ import annotations

import gc
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from harness import PATIENCE, wait_until
from meinheld import server, sync
from meinheld.sync import Channel, channel
from waiting import SHORT, begin


def test_who_subscribes_gets_what_is_published_from_then_on() -> None:
    topic: Channel[str] = Channel()
    topic.publish("before")
    reader = topic.subscribe()
    numbers = [topic.publish("one"), topic.publish("two")]
    assert numbers[1] == numbers[0] + 1
    assert reader.get() == "one"
    assert reader.id == numbers[0]
    assert reader.get(0) == "two"
    assert reader.id == numbers[1] == topic.id
    with pytest.raises(server.timeout):
        reader.get(SHORT)
    assert reader.get_all(SHORT) == []
    assert reader.missed == 0


def test_a_client_that_comes_back_misses_nothing() -> None:
    """However it sends the number of the last message that it got: each poll begins there."""
    topic: Channel[int] = Channel(50)
    after: int | str = topic.subscribe().id
    got = []
    for turn in range(40):
        for number in range(turn % 4):
            topic.publish(turn * 10 + number)
        reader = topic.subscribe(after)
        got += reader.get_all(0) if turn % 3 else [reader.get(0)] if turn % 4 else []
        assert reader.missed == 0
        after = reader.id if turn % 2 else str(reader.id)
    got += topic.subscribe(after).get_all(0)
    assert got == [turn * 10 + number for turn in range(40) for number in range(turn % 4)]


def test_who_falls_behind_is_told_how_much_was_missed() -> None:
    topic: Channel[int] = Channel(3)
    reader = topic.subscribe()
    ids = [topic.publish(number) for number in range(5)]
    assert (reader.get_all(), reader.missed, reader.id) == ([2, 3, 4], 2, ids[4])
    for number in range(5, 9):
        topic.publish(number)
    assert (reader.get(), reader.missed, reader.id) == (6, 3, ids[4] + 2)
    assert (reader.get_all(), reader.missed) == ([7, 8], 3)
    old = topic.subscribe(ids[0])
    assert (old.get_all(), old.missed) == ([6, 7, 8], 5)


def test_0_is_before_all_that_is_kept() -> None:
    topic: Channel[int] = Channel(2)
    assert topic.subscribe(0).get_all(0) == []
    for number in range(4):
        topic.publish(number)
    reader = topic.subscribe(0)
    assert (reader.get_all(), reader.missed) == ([2, 3], 0)
    assert topic.subscribe("0").get_all() == [2, 3]


@pytest.mark.parametrize("after", ["x", "-1", "1_0", "٣", "9" * 19, "9" * 10_000, 17, -1, 2**60])
def test_a_number_of_another_time_gets_all_and_is_told(after: int | str) -> None:
    topic: Channel[int] = Channel(2)
    reader = topic.subscribe(after)
    assert (reader.get_all(0), reader.missed) == ([], 1)
    for number in range(4):
        topic.publish(number)
    reader = topic.subscribe(after)
    assert (reader.get_all(), reader.missed) == ([2, 3], 3)


def test_an_empty_number_is_none() -> None:
    topic: Channel[int] = Channel()
    topic.publish(1)
    assert topic.subscribe("").get_all(0) == []


def test_a_channel_that_is_made_anew_goes_on_with_greater_numbers() -> None:
    last = Channel[int]().publish(1)
    time.sleep(0.00001)  # the numbers are microseconds
    topic: Channel[int] = Channel()
    assert topic.id > last
    assert topic.publish(2) < 2**53
    reader = topic.subscribe(last)
    assert (reader.get_all(0), reader.missed) == ([2], 1)


def test_one_publish_wakes_all_who_wait_and_keeps_nobody() -> None:
    topic: Channel[str] = Channel()
    readers = [topic.subscribe() for _ in range(20)]
    futures = [begin(lambda reader=reader: reader.get_all(PATIENCE)) for reader in readers]  # type: ignore[misc]
    wait_until(lambda: topic.waiting == 20, "waited")
    topic.publish("news")
    assert [future.result(PATIENCE) for future in futures] == [["news"]] * 20
    assert not topic.waiting


def test_two_who_share_a_subscription_share_its_messages() -> None:
    topic: Channel[int] = Channel()
    reader = topic.subscribe()
    futures = [begin(lambda: reader.get(PATIENCE)) for _ in range(2)]
    wait_until(lambda: topic.waiting == 2, "waited")
    topic.publish(1)
    topic.publish(2)
    assert sorted(future.result(PATIENCE) for future in futures) == [1, 2]


def test_a_channel_keeps_as_many_as_it_is_told() -> None:
    topic: Channel[int] = Channel(10)
    for number in range(1000):
        topic.publish(number)
    assert list(topic._kept.values()) == [*range(990, 1000)]


def test_a_topic_is_one_for_all_and_vanishes_when_nobody_needs_it() -> None:
    topic = channel("a topic", 5)
    assert channel("a topic") is topic
    assert channel("a topic", 5) is topic
    with pytest.raises(ValueError, match="keeps 5 messages, not 6"):
        channel("a topic", 6)
    number = topic.publish("kept")
    del topic
    gc.collect()
    reader = channel("a topic").subscribe(number - 1)
    assert reader.get_all(0) == ["kept"]
    channel("a topic").clear()
    del reader
    gc.collect()
    assert channel("a topic").size == 100


def test_names_that_are_only_asked_for_take_no_memory() -> None:
    before = len(sync._topics)
    for number in range(1000):
        channel(f"asked for {number}").subscribe().get_all(0)
    gc.collect()
    assert len(sync._topics) <= before
    assert not sync._making


def test_what_was_cleared_is_told_as_missed() -> None:
    topic: Channel[int] = Channel()
    reader = topic.subscribe()
    topic.publish(1)
    topic.publish(2)
    topic.clear()
    assert reader.get_all(0) == []
    topic.publish(3)
    assert (reader.get_all(), reader.missed) == ([3], 2)


@pytest.mark.parametrize("seed", range(3))
def test_each_reader_gets_all_or_is_told_while_many_publish(seed: int) -> None:
    topic: Channel[tuple[int, int]] = Channel(1 + 20 * seed)
    count = 4 * 300
    readers = [topic.subscribe() for _ in range(6)]

    def publish(who: int) -> list[int]:
        chance = random.Random(f"{seed} {who}")
        ids = []
        for number in range(300):
            ids.append(topic.publish((who, number)))
            if chance.random() < 0.1:
                time.sleep(0.0005)
        return ids

    def read(who: int) -> tuple[list[tuple[int, int]], int]:
        """Some polls go on with a subscription, others with its number."""
        chance = random.Random(f"{seed} reader {who}")
        reader = readers[who]
        got: list[tuple[int, int]] = []
        missed = 0
        while len(got) + missed + reader.missed < count:
            if chance.random() < 0.5:
                got += reader.get_all(chance.choice([0, 0.0005, PATIENCE]))
            else:
                with suppress(server.timeout):
                    got.append(reader.get(chance.choice([0, 0.0005])))
                missed += reader.missed
                reader = topic.subscribe(reader.id)
        return got, missed + reader.missed

    with ThreadPoolExecutor(10) as pool:
        reading = [pool.submit(read, who) for who in range(6)]
        publishing = [pool.submit(publish, who) for who in range(4)]
        ids = [number for one in publishing for number in one.result()]
        for one in reading:
            got, missed = one.result()
            assert len(got) + missed == count
            assert len({*got}) == len(got)
            for who in range(4):
                mine = [item for item in got if item[0] == who]
                assert mine == sorted(mine)
    assert sorted(ids) == [*range(min(ids), min(ids) + count)]
