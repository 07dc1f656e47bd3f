"""Work that is done elsewhere, in threads and in an asyncio loop, while a request waits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import PATIENCE, Process, Server, wait_until
from meinheld import offload
from meinheld.offload import await_, get_max_threads, run_in_thread, set_max_threads
from rawclient import request
from waiting import begin

Serve = Callable[..., Server]
APP = "apps.offload:app"

BOTH = pytest.mark.parametrize(
    "path, begun, done",
    [
        ("/blocked", "blocks", "unblocked"),
        ("/awaiting", "awaits", "awaited"),
    ],
)


def said(server: Server, path: str) -> Any:
    with server.connect() as client:
        return json.loads(client.get(path).body)


# ---- from requests and tasks


def test_a_function_has_its_arguments_and_a_copy_of_the_context(serve: Serve) -> None:
    result = [[1], {"two": 2}, "of the request", "meinheld-offload"]
    assert said(serve(APP), "/in-thread") == [result, "of the request"]


def test_a_coroutine_has_a_copy_of_the_context(serve: Serve) -> None:
    result = [[1], "of the request", "meinheld-asyncio"]
    assert said(serve(APP), "/in-asyncio") == [result, "of the request"]


def test_what_they_raise_is_raised_as_it_is(serve: Serve) -> None:
    assert said(serve(APP), "/failing") == [True, True]


def test_a_coroutine_that_is_late_is_cancelled(serve: Serve) -> None:
    message = "the coroutine has not returned in 0.02 seconds"
    assert said(serve(APP), "/late") == [message, True]


def test_tasks_use_both(serve: Serve) -> None:
    assert said(serve(APP), "/by-task") == ["in a thread", "awaited"]


@BOTH
def test_others_are_served_meanwhile(serve: Serve, path: str, begun: str, done: str) -> None:
    server = serve(APP)
    with server.connect() as one, server.connect() as two:
        one.send(request(path))
        two.send(request(path))
        wait_until(lambda: server.log.count(f"{begun}\n") == 2, "begun")
        with server.connect() as other:
            assert other.get("/many?word=meanwhile").body == b"meanwhile"
        said(server, "/open")
        assert one.read_response().body == two.read_response().body == b"true"


@BOTH
def test_a_client_that_leaves_does_not_tear_the_work(
    serve: Serve, path: str, begun: str, done: str
) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(request(path))
        server.wait_for_log(f"{begun}\n")
    with server.connect() as other:  # a step in which the server could have been told
        assert other.get("/many?word=later").body == b"later"
    assert f"{done}\n" not in server.log
    said(server, "/open")
    server.wait_for_log(f"{done}\n")


@BOTH
def test_a_drain_waits_for_the_work(serve: Serve, path: str, begun: str, done: str) -> None:
    server = serve(APP)
    with server.connect() as client, server.connect() as other:
        client.send(request(path))
        server.wait_for_log(f"{begun}\n")
        other.send(b"GET /open HTTP/1.1\r\nHost: test\r\n")  # one that has begun is served
        other.expect_nothing_buffered()
        server.signal(signal.SIGTERM)
        other.send(b"\r\n")
        assert other.read_response().status == 200
        assert client.read_response().body == b"true"
    assert server.wait() == 0


def test_more_at_once_than_there_are_threads_wait_their_turn(serve: Serve) -> None:
    server = serve(APP)

    def visit(who: int) -> None:
        with server.connect() as client:
            for turn in range(20):
                word = f"{who}-{turn}"
                assert client.get(f"/many?word={word}").body.decode() == word

    with ThreadPoolExecutor(40) as pool:
        for _ in pool.map(visit, range(40)):
            pass


def test_nothing_begins_in_a_greenlet_of_the_applications(serve: Serve) -> None:
    results, begun = said(serve(APP), "/elsewhere")
    assert [result.partition(":")[0] for result in results] == ["RuntimeError"] * 2
    assert begun == []


# ---- from plain threads


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A pool for this test alone, and the number of its threads set back afterwards."""
    before = get_max_threads()
    monkeypatch.setattr(offload, "_workers", offload._Workers())
    yield offload._workers
    set_max_threads(before)


def test_a_plain_thread_blocks() -> None:
    async def work() -> str:
        await asyncio.sleep(0.001)
        return "awaited"

    assert run_in_thread(lambda: "done") == "done"
    assert await_(work()) == "awaited"
    assert begin(lambda: (run_in_thread(int, "1"), await_(work()))).result(PATIENCE) == (
        1,
        "awaited",
    )


def test_threads_are_made_as_they_are_needed_up_to_a_number(workers: Any) -> None:
    set_max_threads(3)
    gate = threading.Event()
    for _ in range(5):
        run_in_thread(int)
    assert workers._count == 1
    futures = [begin(lambda: run_in_thread(gate.wait, PATIENCE)) for _ in range(7)]
    wait_until(lambda: workers._free == -4, "queued")
    assert workers._count == 3
    gate.set()
    assert [future.result(PATIENCE) for future in futures] == [True] * 7
    wait_until(lambda: workers._free == 3, "free")


def test_work_that_has_work_done_does_not_wait_for_a_thread(workers: Any) -> None:
    set_max_threads(1)

    def outer() -> str:
        return run_in_thread(lambda: threading.current_thread().name)

    assert run_in_thread(outer) == "meinheld-offload-1"


def fail_to_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_fewer_threads_than_were_wanted_are_enough(
    workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    futures: list[Any] = [concurrent.futures.Future() for _ in range(3)]
    workers.do(futures[0], lambda: gate.wait(PATIENCE))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        for future in futures[1:]:
            workers.do(future, lambda: True)
    assert workers._count == 1
    gate.set()
    assert [future.result(PATIENCE) for future in futures] == [True] * 3


def test_no_thread_at_all_is_an_error(workers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            run_in_thread(int)
    assert workers._count == workers._free == 0


def test_what_would_end_a_thread_is_for_who_waits() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def work() -> int:
        return 4

    with pytest.raises(SystemExit):
        run_in_thread(sys.exit, 2)
    with pytest.raises(SystemExit):
        await_(leave())
    assert run_in_thread(int, 4) == await_(work()) == 4


def test_a_coroutine_that_was_cancelled_says_so() -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(PATIENCE)

    with pytest.raises(concurrent.futures.CancelledError):
        await_(work())


def test_the_asyncio_loop_does_not_wait_for_itself() -> None:
    async def inner() -> None:
        pass

    async def outer() -> None:
        coroutine = inner()
        try:
            await_(coroutine)
        finally:
            coroutine.close()

    with pytest.raises(RuntimeError, match="own asyncio loop"):
        await_(outer())


def test_what_one_coroutine_makes_another_can_use() -> None:
    async def make() -> asyncio.Lock:
        lock = asyncio.Lock()
        await lock.acquire()
        return lock

    async def use(lock: asyncio.Lock) -> bool:
        lock.release()
        async with lock:
            return True

    assert await_(use(await_(make())))


def test_wrong_calls_say_what_is_wrong() -> None:
    wrong: Any = 3

    async def work() -> None:
        pass

    with pytest.raises(TypeError, match="func must be callable, not int"):
        run_in_thread(wrong)
    with pytest.raises(TypeError, match="coroutine"):
        await_(wrong)
    coroutine = work()
    with pytest.raises(ValueError, match="timeout must be"):
        await_(coroutine, -1)
    coroutine.close()
    for wrong in (0, "1", True):
        with pytest.raises((TypeError, ValueError), match="count must be"):
            set_max_threads(wrong)


# ---- forks, and the end of a process

FORKING = """
import asyncio, os, sys
from meinheld.offload import await_, run_in_thread

async def work():
    return os.getpid()

def both():
    return run_in_thread(os.getpid) == await_(work()) == os.getpid()

assert both()
pid = os.fork()
if pid == 0:
    os._exit(0 if both() else 1)
assert os.waitpid(pid, 0)[1] == 0

def fork():
    pid = os.fork()
    if pid == 0:
        sys.exit(7 if both() else 8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

assert run_in_thread(fork) == 7
assert both()
print("ended")
"""

LEAVING = """
import asyncio, threading, time
from meinheld.offload import await_, run_in_thread

begun = threading.Barrier(3)

def block():
    begun.wait()
    time.sleep(3600)

async def wait():
    begun.wait()
    try:
        await asyncio.sleep(3600)
    finally:
        print("cleaned up", flush=True)

threading.Thread(target=run_in_thread, args=(block,), daemon=True).start()
threading.Thread(target=await_, args=(wait(),), daemon=True).start()
begun.wait()
"""


def test_a_child_has_threads_and_a_loop_of_its_own(spawn: Callable[..., Process]) -> None:
    process = spawn([sys.executable, "-c", FORKING])
    assert process.wait() == 0, process.log
    assert process.out == "ended\n"


@pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="PyPy may crash at its end beside threads that run on"
)
def test_a_process_ends_without_waiting_for_the_work(spawn: Callable[..., Process]) -> None:
    process = spawn([sys.executable, "-c", LEAVING])
    assert process.wait() == 0, process.log
    assert process.out == "cleaned up\n"


def test_a_run_that_ends_drops_what_its_tasks_wait_for(
    spawn: Callable[..., Process], unix_path: str
) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "import asyncio, threading\n"
            "from greenlet import GreenletExit\n"
            "from meinheld import server\n"
            "from meinheld.offload import await_, run_in_thread\n"
            "gate = threading.Event()\n"
            "ended = threading.Event()\n"
            "async def work():\n"
            "    try:\n"
            "        await asyncio.sleep(3600)\n"
            "    finally:\n"
            "        ended.set()\n"
            "def task(function, *args):\n"
            "    try:\n"
            "        function(*args)\n"
            "    except GreenletExit:\n"
            "        print('told', flush=True)\n"
            "        raise\n"
            f"server.listen({unix_path!r})\n"
            "server.spawn(task, (run_in_thread, gate.wait))\n"
            "server.spawn(task, (await_, work()))\n"
            "server.schedule_call(0.05, server.shutdown)\n"
            "server.run(lambda environ, start_response: [])\n"
            "print('cancelled', ended.wait(20))\n"
            "gate.set()\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out == "told\ntold\ncancelled True\n"
