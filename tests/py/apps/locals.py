"""What an application keeps in threading.local, of which an import of this makes meinheld's."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from meinheld import patch, server
from meinheld.common import Continuation

from apps import log

patch.patch_local()

_waiting: dict[str, Continuation] = {}
_made: list[str] = []
_tasks: list[Any] = []


class Counted(threading.local):
    """How often it was made is how many have had it."""

    def __init__(self, what: str) -> None:
        _made.append(what)


class Told:
    """Tells of its end."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __del__(self) -> None:
        log(f"{self._name} is gone")


kept = threading.local()
counted = Counted("made")


def seen() -> str:
    return str(getattr(kept, "value", "nothing"))


def wait(name: str) -> Iterable[bytes]:
    kept.value = name
    continuation = _waiting[name] = Continuation()
    log(f"{name} waits")
    continuation.suspend()
    return [seen().encode()]


def stream(name: str) -> Iterator[bytes]:
    kept.value = name

    def pieces() -> Iterator[bytes]:
        yield b"first "
        yield from wait(seen())

    return pieces()


def tell(name: str) -> Iterable[bytes]:
    """Its continuation, which is not forgotten, must not keep what the request has kept."""
    kept.told = Told(name)
    _waiting[name] = Continuation()
    return [name.encode()]


def spawn(name: str) -> Iterable[bytes]:
    kept.value = "the request's"

    def task() -> str:
        before = seen()
        kept.value = f"{name}'s"
        kept.told = Told(name)
        server.sleep(0.001)
        return f"{before}, {seen()}"

    begun = server.spawn(task)
    _tasks.append(begun)  # whom keeping must not keep what the task has kept
    return [f"{begun.get(20)}, {seen()}".encode()]


def schedule(name: str) -> Iterable[bytes]:
    kept.value = "the request's"

    def call() -> None:
        log(f"{name} sees {seen()}")

    server.schedule_call(0, call)
    return [b""]


def resume(name: str) -> Iterable[bytes]:
    return [str(_waiting[name].resume()).encode()]


def see(name: str) -> Iterable[bytes]:
    return [seen().encode()]


def collect(name: str) -> Iterable[bytes]:
    """PyPy frees what nobody has any more in one of these."""
    for _ in range(3):
        gc.collect()
    return [b""]


def count(name: str) -> Iterable[bytes]:
    _ = counted.__dict__, counted.__dict__
    return [str(len(_made)).encode()]


TARGETS: dict[str, Callable[[str], Iterable[bytes]]] = {
    function.__name__: function
    for function in (wait, stream, tell, spawn, schedule, resume, see, collect, count)
}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    target, _, name = environ["PATH_INFO"][1:].partition("/")
    body = TARGETS[target](name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return body
