"""Work beside requests: spawn, schedule_call, sleep, trampoline; and the client object."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable

import pytest
from harness import Process, Server
from rawclient import request

Serve = Callable[..., Server]
APP = "apps.tasks:app"


def said(server: Server, path: str) -> object:
    with server.connect() as client:
        return json.loads(client.get(path).body)


# ---- spawn


def test_a_task_has_its_arguments_and_a_copy_of_the_context(serve: Serve) -> None:
    args_and_kwargs = [[1, 2], {"three": 3}, "of the request", "of the task"]
    assert said(serve(APP), "/spawned") == [args_and_kwargs, "of the request", True]


def test_what_a_task_raises_is_logged_and_told_to_who_waits_for_it(serve: Serve) -> None:
    server = serve(APP, tracebacks=1)
    assert said(server, "/failing") == "LookupError: in a task"
    assert "failing.<locals>.work failed" in server.log


def test_a_wait_for_a_task_can_be_limited(serve: Serve) -> None:
    message = "timeout: the function has not returned in 0.01 seconds"
    assert said(serve(APP), "/late") == [False, message, None]


def test_tasks_may_begin_tasks_as_deep_as_they_like(serve: Serve) -> None:
    assert said(serve(APP), "/nested") == 2000


def test_threads_that_no_loop_knows_can_begin_tasks_and_wait(serve: Serve) -> None:
    assert said(serve(APP), "/from-thread") == [True, True]


def test_a_task_that_its_run_never_began_is_told_of_as_one(
    spawn: Callable[..., Process], unix_path: str
) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "from meinheld import server\n"
            f"server.listen({unix_path!r})\n"
            "def end():\n"
            "    tasks.append(server.spawn(print, ('begun',)))\n"
            "    raise SystemExit\n"
            "tasks = [server.spawn(end)]\n"
            "try:\n"
            "    server.run(lambda environ, start_response: [])\n"
            "except SystemExit:\n"
            "    for task in tasks:\n"
            "        try:\n"
            "            task.get()\n"
            "        except BaseException as exc:\n"
            "            print(type(exc).__name__, task.done)\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out == "SystemExit True\nRuntimeError True\n"


# ---- schedule_call


def test_calls_are_made_when_they_are_due_and_in_their_order(serve: Serve) -> None:
    assert said(serve(APP), "/ordered") == [*range(100), *range(1000, 1100)]


def test_a_call_can_be_cancelled_until_it_was_made(serve: Serve) -> None:
    assert said(serve(APP), "/cancelled") == [["second"], False, True]


def test_a_call_has_its_arguments(serve: Serve) -> None:
    assert said(serve(APP), "/keyword") == [[1], {"two": 2}]


def test_a_call_that_fails_is_logged_and_spoils_nothing(serve: Serve) -> None:
    server = serve(APP, tracebacks=1)
    assert said(server, "/broken") == "after it"


def test_a_drain_waits_for_the_calls_that_were_scheduled_before_it(
    spawn: Callable[..., Process], unix_path: str
) -> None:
    """And not for those that they schedule, or one that goes on for ever would not let it end."""
    process = spawn(
        [
            sys.executable,
            "-c",
            "from meinheld import server\n"
            "def tick(number):\n"
            "    print(number, flush=True)\n"
            "    server.schedule_call(0.2, tick, number + 1)\n"
            f"server.listen({unix_path!r})\n"
            "server.schedule_call(0.1, tick, 1)\n"
            "server.schedule_call(0, server.shutdown)\n"
            "server.run(lambda environ, start_response: [])\n"
            "print('ended', flush=True)\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out == "1\nended\n"


def test_a_drain_s_timeout_does_not_wait_for_calls(
    spawn: Callable[..., Process], unix_path: str
) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "from meinheld import server\n"
            f"server.listen({unix_path!r})\n"
            "server.schedule_call(3600, print, 'called')\n"
            "server.schedule_call(0, server.shutdown, 0.05)\n"
            "server.run(lambda environ, start_response: [])\n"
            "print('ended', flush=True)\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out == "ended\n"


def test_what_ends_a_run_ends_it_from_a_task(spawn: Callable[..., Process], unix_path: str) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from meinheld import server\n"
            f"server.listen({unix_path!r})\n"
            "server.spawn(sys.exit, (7,))\n"
            "server.run(lambda environ, start_response: [])\n",
        ]
    )
    assert process.wait() == 7, process.log


# ---- sleep


def test_a_request_that_sleeps_holds_up_nobody_and_is_finished_by_a_drain(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client, server.connect() as other:
        client.send(request("/sleeping?0.3"))
        server.wait_for_log("sleeps\n")
        assert json.loads(other.get("/keyword").body) == [[1], {"two": 2}]
        server.signal(signal.SIGTERM)
        assert client.read_response().body == b"slept"
    assert server.wait() == 0


def test_a_client_that_leaves_does_not_end_a_sleep(serve: Serve) -> None:
    server = serve(APP, access_log=2)
    with server.connect() as client:
        client.send(request("/sleeping?0.2"))
        server.wait_for_log("sleeps\n")
    server.wait_for_log('"GET /sleeping?0.2 HTTP/1.1" ')
    assert "Traceback" not in server.log


# ---- trampoline


def test_a_request_waits_for_a_descriptor(serve: Serve) -> None:
    results = said(serve(APP), "/readable")
    assert isinstance(results, list)
    assert results[1].startswith("timeout: descriptor ")
    assert (results[0], results[2]) == ("x", "")


@pytest.mark.in_loop  # where threads serve, each blocks by itself, and nobody can cancel that
def test_a_wait_for_a_descriptor_can_be_cancelled_and_is_one_s_own(serve: Serve) -> None:
    results = said(serve(APP), "/cancelled-wait")
    assert isinstance(results, list)
    assert results[0].startswith("OSError: [Errno 125] descriptor ")
    assert results[1].startswith("RuntimeError: somebody waits for descriptor ")


# ---- wrong calls


def test_wrong_calls_say_what_is_wrong(serve: Serve) -> None:
    with serve(APP).connect() as client:
        lines = client.get("/wrong").body.decode().splitlines()
    assert lines[:6] == [
        "TypeError: func must be callable, not int",
        "ValueError: seconds must be finite and not negative: -1",
        "TypeError: seconds must be a number, not '1'",
        "TypeError: func must be callable, not NoneType",
        "ValueError: seconds must be finite and not negative: nan",
        "ValueError: trampoline() waits for read or for write",
    ]
    assert lines[6].startswith("OSError: ")
    assert lines[7].startswith("ValueError: timeout must be")
    assert lines[8].startswith("RuntimeError: only a request's or a task's own greenlet")


# ---- environ["meinheld.client"]


def test_the_client_object_tells_of_its_request_where_that_runs(serve: Serve) -> None:
    message = "RuntimeError: there is no client outside a request's own greenlet"
    assert said(serve(APP), "/identity") == [True, True, True, message, True]


def test_a_client_that_is_set_closed_gets_nothing_more(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(request("/closing"))
        assert client.read_to_abort() == b""
    assert said(server, "/keyword") == [[1], {"two": 2}]
