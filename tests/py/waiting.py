"""Threads that wait, for the tests of who wakes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from harness import PATIENCE, wait_until
from meinheld.sync import Queue

SHORT = 0.02  # seconds that a wait lasts which is meant to time out


def begin(function: Callable[[], Any]) -> Future[Any]:
    """Calls function in another thread."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, daemon=True).start()
    return future


def waiting_in(queue: Queue[Any], count: int = 1) -> list[Future[Any]]:
    """So many threads that wait for an item, in this order."""
    futures = []
    for _ in range(count):
        number = len(queue._getters)
        futures.append(begin(lambda: queue.get(PATIENCE)))
        wait_until(lambda number=number: len(queue._getters) > number, "waited")  # type: ignore[misc]
    return futures


def everything_in(queue: Queue[Any]) -> list[Any]:
    return [queue.get_nowait() for _ in range(queue.qsize())]
