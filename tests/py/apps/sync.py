"""Requests and tasks that wait for each other by an event, a queue and a channel."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterable

from greenlet import greenlet
from meinheld import server
from meinheld.sync import Channel, Empty, Event, Queue, channel

from apps import Environ, StartResponse, by_path, log
from apps.continuations import outcome, query
from apps.tasks import said

_event = Event()
_queue: Queue[object] = Queue()
_narrow: Queue[object] = Queue(1)
_taken: list[object] = []
_topic: Channel[str] = channel("news", 2000)


def on_signal(number: int, frame: object) -> None:
    _event.set()
    _queue.put_nowait("signal")
    channel("news").publish("signal")


signal.signal(signal.SIGUSR1, on_signal)


def seconds(environ: Environ) -> float:
    return float(query(environ, "timeout", "20"))


def happens(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, _event.wait(seconds(environ)))


def set_event(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _event.set()
    return said(start_response, _event.is_set())


def take(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    try:
        item = _queue.get(seconds(environ))
    except Empty:
        return said(start_response, None)
    _taken.append(item)
    return said(start_response, item)


def put(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _queue.put(query(environ, "item"))
    return said(start_response, "put")


def put_narrow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _narrow.put(query(environ, "item"), seconds(environ))
    return said(start_response, "put")


def take_narrow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, _narrow.get_nowait())


def poll(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    news = _topic.subscribe(query(environ, "after"))
    messages = news.get_all(seconds(environ))
    return said(start_response, {"messages": messages, "after": news.id, "missed": news.missed})


def publish(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, channel("news").publish(query(environ, "message")))


def waiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """How many wait for anything here."""
    count = _event._bell.waiting + _topic.waiting
    for each in (_queue, _narrow):
        count += len(each._getters) + len(each._putters)
    return said(start_response, count)


def state(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, {"taken": _taken, "left": _queue.qsize()})


def produce(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Puts numbers, in threads and in a task, some of them just after the others."""
    chance = random.Random(query(environ, "seed"))

    def work(first: int, pauses: list[float]) -> None:
        for number, pause in enumerate(pauses):
            server.sleep(pause)
            _queue.put(first + number)

    for first in (0, 100, 200):
        pauses = [chance.choice([0, 0, 0.001, 0.01]) for _ in range(100)]
        if first:
            threading.Thread(target=work, args=(first, pauses), daemon=True).start()
        else:
            server.spawn(work, (first, pauses))
    return said(start_response, "begun")


def by_tasks(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tasks and a thread that hand a number on, each by another means."""
    event, there, back = Event(), Queue[int](), Channel[int]()
    reader = back.subscribe()

    def first() -> None:
        event.wait()
        there.put(1)

    def last() -> None:
        back.publish(there.get() + 1)

    server.spawn(last)
    server.spawn(first)
    threading.Timer(0.01, event.set).start()
    return said(start_response, reader.get(seconds(environ)))


def elsewhere(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tries to wait in a greenlet of its own."""
    results: list[str] = []

    def attempt() -> None:
        results.append(outcome(lambda: Event().wait(1)).decode())
        results.append(outcome(lambda: Queue[int]().get(1)).decode())
        results.append(outcome(lambda: _topic.subscribe().get(1)).decode())
        _queue.put_nowait("from a greenlet")

    greenlet(attempt).switch()
    return said(start_response, [*results, _queue.get_nowait()])


def holding_up(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Holds up its thread until somebody writes to the query's FIFO."""
    log("holds up")
    with open(query(environ, "gate")) as gate:
        gate.read()
    return said(start_response, "held up")


app = by_path(
    {
        "/happens": happens,
        "/set": set_event,
        "/take": take,
        "/put": put,
        "/put-narrow": put_narrow,
        "/take-narrow": take_narrow,
        "/poll": poll,
        "/publish": publish,
        "/waiting": waiting,
        "/state": state,
        "/produce": produce,
        "/by-tasks": by_tasks,
        "/elsewhere": elsewhere,
        "/holding-up": holding_up,
    }
)
