"""How psycopg (3) waits. All it does is a generator, in Python or in C, that says which descriptor
has to be ready for what, and is sent what it is ready for; functions of the module psycopg.waiting
drive these, and here are two that take their place."""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

from psycopg import errors, waiting

from meinheld._descriptors import READ, WRITE, cooperating_loop, wait_or_block

Steps = Generator[Any, int, Any]

_wait = waiting.wait
_wait_conn = waiting.wait_conn


def wait(gen: Steps, fileno: int, interval: float = 0.0, timeout: float | None = None) -> Any:
    """psycopg.waiting.wait(): gen says for what to wait."""
    if cooperating_loop() is None:
        return _wait(gen, fileno, interval, *_given(timeout))
    return _drive(gen, lambda wants: (fileno, wants), interval, timeout)


def wait_conn(gen: Steps, interval: float = 0.0, timeout: float | None = None) -> Any:
    """psycopg.waiting.wait_conn(): gen says for which descriptor too."""
    if cooperating_loop() is None:
        return _wait_conn(gen, interval, *_given(timeout))
    return _drive(gen, lambda wants: wants, interval, timeout)


def _given(timeout: float | None) -> tuple[float, ...]:
    """An argument that psycopg before 3.3 has not, nor gives."""
    return () if timeout is None else (timeout,)


def _drive(
    gen: Steps,
    read: Callable[[Any], tuple[int, int]],
    interval: float,
    timeout: float | None,
) -> Any:
    """The result of gen. It is sent that nothing is ready after each interval, in seconds: some
    keep their own time, and a connection may have been closed by others."""
    deadline = None if timeout is None else monotonic() + timeout
    try:
        fd, wants = read(next(gen))
        while True:
            left = interval if deadline is None else min(interval, deadline - monotonic())
            events = READ if wants & waiting.WAIT_R else 0
            if wants & waiting.WAIT_W:
                events |= WRITE
            try:
                found = wait_or_block(fd, events, max(0.0, left))
            except OSError as exc:
                raise errors.OperationalError("connection socket closed") from exc
            ready = waiting.READY_R if found & READ else 0
            if found & WRITE:
                ready |= waiting.READY_W
            fd, wants = read(gen.send(ready))
            if deadline is not None and monotonic() >= deadline:
                raise errors._WaitTimeout("wait timeout expired")
    except StopIteration as exc:
        return exc.value


def patch() -> None:
    """Puts them there."""
    waiting.wait = wait
    waiting.wait_conn = wait_conn
