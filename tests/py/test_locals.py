"""threading.local by requests: what the standard library says of it, and whose values are seen."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from greenlet import greenlet
from harness import Process, Server
from meinheld import _locals
from meinheld._locals import local
from rawclient import request

Serve = Callable[..., Server]
Spawn = Callable[..., Process]


def in_thread(function: Callable[[], Any]) -> Any:
    """What function returns in another thread."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(20)
    return results[0]


def in_greenlet(function: Callable[[], Any]) -> Any:
    """What function returns in another greenlet."""
    return greenlet(function).switch()


def collect() -> None:
    """PyPy calls a finalizer in one collection, and frees what that has let go in the next."""
    for _ in range(3):
        gc.collect()


OTHERS = pytest.mark.parametrize("elsewhere", [in_thread, in_greenlet])


class Value:
    """What can be referred to weakly."""


# ---- the standard library's


@OTHERS
def test_values_are_seen_where_they_were_set_alone(elsewhere: Callable[..., Any]) -> None:
    kept = local()
    kept.value = "here"

    def other() -> list[object]:
        before = getattr(kept, "value", "nothing")
        kept.value = "there"
        return [before, kept.value, kept.__dict__]

    assert elsewhere(other) == ["nothing", "there", {"value": "there"}]
    assert kept.__dict__ == {"value": "here"}
    kept.__dict__["more"] = 1
    assert (kept.more, vars(kept)) == (1, {"value": "here", "more": 1})
    del kept.value
    assert not hasattr(kept, "value")
    with pytest.raises(AttributeError, match="value"):
        del kept.value
    with pytest.raises(AttributeError, match="'local' object has no attribute 'value'"):
        _ = kept.value
    with pytest.raises(AttributeError, match="read-only"):
        kept.__dict__ = {}
    with pytest.raises(AttributeError, match="read-only"):
        del kept.__dict__


@OTHERS
def test_init_is_called_once_for_each_with_the_same_arguments(
    elsewhere: Callable[..., Any],
) -> None:
    calls: list[object] = []

    class Made(local):
        def __init__(self, one: object, *, two: object) -> None:
            calls.append((one, two))
            self.one = one

    kept = Made(1, two=2)
    kept.one = "changed"
    assert calls == [(1, 2)]
    assert elsewhere(lambda: (kept.one, kept.one)) == (1, 1)
    assert elsewhere(lambda: setattr(kept, "one", 3)) is None
    assert (kept.one, calls) == ("changed", [(1, 2)] * 3)


def test_arguments_that_nobody_takes_are_refused() -> None:
    with pytest.raises(TypeError, match="arguments are not supported"):
        local(1)
    with pytest.raises(TypeError, match="arguments are not supported"):
        local(one=1)


def test_an_init_that_fails_is_tried_again() -> None:
    calls: list[int] = []

    class Made(local):
        def __init__(self) -> None:
            calls.append(len(calls))
            if len(calls) == 2:
                raise LookupError("on purpose")
            self.call = calls[-1]

    kept = Made()

    def other() -> int:
        with pytest.raises(LookupError):
            _ = kept.call
        return kept.call

    assert in_thread(other) == 2


def test_a_subclass_has_defaults_methods_properties_and_slots() -> None:
    class Made(local):
        __slots__ = ("shared",)
        number = 2

        def squared(self) -> int:
            return self.number**2

        @property
        def double(self) -> int:
            return self.number * 2

        @double.setter
        def double(self, value: int) -> None:
            self.number = value // 2

        @double.deleter
        def double(self) -> None:
            del self.number

        def __getattr__(self, name: str) -> str:
            return f"no {name}"

    kept = Made()
    assert (kept.number, kept.squared(), kept.double, kept.other) == (2, 4, 4, "no other")
    kept.double = 10
    kept.__dict__["double"] = "hidden by the property"
    kept.shared = "by all"
    assert (kept.number, kept.squared(), kept.double) == (5, 25, 10)
    assert in_thread(lambda: (kept.number, kept.shared)) == (2, "by all")
    del kept.double
    assert kept.number == 2
    assert kept.__class__ is Made and isinstance(kept, local)
    assert {"number", "double", "squared"} <= {*dir(kept)}


def test_it_can_be_referred_to_weakly_and_not_be_copied() -> None:
    kept = local()
    assert weakref.ref(kept)() is kept
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="pickle"):
            take(kept)


# ---- when values end


def test_values_end_with_their_local() -> None:
    kept = local()
    kept.value = value = Value()
    found = weakref.ref(value)
    del value, kept
    collect()
    assert found() is None


def test_a_cycle_through_a_local_is_garbage() -> None:
    value = Value()
    value.kept = kept = local()  # type: ignore[attr-defined]
    kept.value = value
    found = weakref.ref(value)
    del value, kept
    collect()
    assert found() is None


@OTHERS
def test_values_end_with_their_thread_or_greenlet(elsewhere: Callable[..., Any]) -> None:
    kept = local()

    def other() -> weakref.ref[Value]:
        kept.value = Value()
        return weakref.ref(kept.value)

    found = elsewhere(other)
    collect()
    assert found() is None


def test_a_thread_forgets_the_locals_that_it_has_had() -> None:
    def other() -> int:
        for number in range(1000):
            kept = local()
            kept.number = number
            del kept
            if number % 100 == 99:  # for PyPy
                gc.collect()
        return len(_locals._of_thread.locals._insides)

    assert in_thread(other) < 500


# ---- in a server


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve("apps.locals:app")


@pytest.mark.parametrize("target", ["wait", "stream"])
def test_requests_that_wait_see_their_own(server: Server, target: str) -> None:
    names = ["a", "b", "c"]
    clients = {name: server.connect() for name in names}
    for name in names:
        clients[name].send(request(f"/{target}/{name}"))
        server.wait_for_log(f"{name} waits\n")
    with server.connect() as other:
        for name in names:
            assert other.get(f"/resume/{name}").body == b"True"
            with clients[name] as client:
                body = client.read_response().body
                assert body == {"wait": b"", "stream": b"first "}[target] + name.encode()


@pytest.mark.in_loop("a pool's thread keeps its values")
def test_the_next_request_sees_nothing(server: Server) -> None:
    with server.connect() as client:
        for target in ("/schedule/s", "/spawn/t"):
            client.get(target)
            assert client.get("/see").body == b"nothing"


@pytest.mark.in_loop("a pool's thread keeps its values")
def test_init_is_called_for_each_request(server: Server) -> None:
    with server.connect() as client:
        assert [client.get("/count").body for _ in range(3)] == [b"2", b"3", b"4"]


@pytest.mark.in_loop("a pool's thread keeps its values")
def test_values_end_with_their_request_whoever_keeps_that(server: Server) -> None:
    with server.connect() as client:
        assert client.get("/tell/it").body == b"it"
        client.get("/collect")
        server.wait_for_log("it is gone")


def test_tasks_and_calls_have_their_own(server: Server) -> None:
    with server.connect() as client:
        body = client.get("/spawn/task").body
        assert body == b"nothing, task's, the request's"
        client.get("/collect")
        server.wait_for_log("task is gone")
        client.get("/schedule/call")
        server.wait_for_log("call sees nothing\n")


# ---- at start

RUN = """
from meinheld import server
server.listen(("127.0.0.1", 0))
server.schedule_call(0, server.shutdown)
server.run(lambda environ, start_response: [])
"""


def test_what_came_before_it_is_named_when_a_server_starts(spawn: Spawn) -> None:
    script = "import threading\nmine = threading.local()\nfrom meinheld import patch\n"
    process = spawn([sys.executable, "-c", f"{script}patch.patch_local()\n{RUN}"])
    assert process.wait() == 0
    assert process.log.count("patch_local() came after __main__, which") == 1


def test_locals_of_the_standard_library_may_come_before_it(spawn: Spawn) -> None:
    script = "import asyncio, multiprocessing\nfrom meinheld import patch\n"
    script += "asyncio.new_event_loop().close()\npatch.patch_all(local=True)\npatch.patch_local()\n"
    process = spawn([sys.executable, "-c", script + RUN])
    assert process.wait() == 0
    assert process.log == ""


def test_a_name_that_was_imported_before_it_is_replaced(spawn: Spawn) -> None:
    script = "from threading import local\nfrom meinheld import _locals, patch\n"
    script += "patch.patch_local()\nassert local is _locals.local\n"
    process = spawn([sys.executable, "-c", script + RUN])
    assert process.wait() == 0
    assert process.log == ""


def test_without_it_nothing_is_said(spawn: Spawn) -> None:
    process = spawn([sys.executable, "-c", f"import threading\nmine = threading.local()\n{RUN}"])
    assert process.wait() == 0
    assert process.log == ""
