"""Events, queues and channels between requests, tasks, threads and signal handlers."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Process, Server, wait_until
from rawclient import Client, request

Serve = Callable[..., Server]
APP = "apps.sync:app"


def said(server: Server, path: str) -> Any:
    with server.connect() as client:
        return json.loads(client.get(path).body)


@contextmanager
def waiting(server: Server, *paths: str) -> Iterator[list[Client]]:
    """A client at each path, which waits there; they came in this order."""
    with ExitStack() as stack:
        clients = []
        before = said(server, "/waiting")
        for path in paths:
            clients.append(stack.enter_context(server.connect()))
            clients[-1].send(request(path))
            count = before + len(clients)
            wait_until(lambda count=count: said(server, "/waiting") == count, "waited")  # type: ignore[misc]
        yield clients


def answers(clients: list[Client]) -> list[Any]:
    return [json.loads(client.read_response().body) for client in clients]


# ---- who wakes


def test_requests_wait_for_what_others_do(serve: Serve) -> None:
    server = serve(APP)
    with waiting(server, "/happens", "/take", "/poll", "/happens", "/take", "/poll") as clients:
        assert said(server, "/set") is True
        said(server, "/put?item=one")
        said(server, "/put?item=two")
        number = said(server, "/publish?message=hello")
        news = {"messages": ["hello"], "after": number, "missed": 0}
        assert answers(clients) == [True, "one", news, True, "two", news]
    assert said(server, "/waiting") == 0


def test_a_signal_handler_wakes_them(serve: Serve) -> None:
    server = serve(APP)
    with waiting(server, "/happens", "/take", "/poll") as clients:
        server.signal(signal.SIGUSR1)
        event, item, news = answers(clients)
    assert (event, item, news["messages"]) == (True, "signal", ["signal"])


def test_tasks_and_threads_hand_on(serve: Serve) -> None:
    assert said(serve(APP), "/by-tasks") == 2


def test_a_request_waits_for_room(serve: Serve) -> None:
    server = serve(APP)
    said(server, "/put-narrow?item=1")
    with waiting(server, "/put-narrow?item=2", "/put-narrow?item=3") as clients:
        assert [said(server, "/take-narrow") for _ in range(3)] == ["1", "2", "3"]
        assert answers(clients) == ["put", "put"]


# ---- how a wait ends


def test_a_wait_is_over_in_time(serve: Serve) -> None:
    server = serve(APP)
    assert said(server, "/happens?timeout=0.02") is False
    assert said(server, "/take?timeout=0.02") is None
    news = said(server, "/poll?timeout=0.02")
    assert (news["messages"], news["missed"]) == ([], 0)
    assert said(server, "/waiting") == 0


def test_who_leaves_is_not_waited_for_and_gets_nothing(serve: Serve) -> None:
    server = serve(APP, access_log=2)
    with waiting(server, "/happens", "/take", "/poll") as clients:
        for client in clients:
            client.close()
        wait_until(lambda: said(server, "/waiting") == 0, "ended the waits")
        for path in ("/happens", "/take", "/poll"):
            server.wait_for_log(f'"GET {path} HTTP/1.1" 499 - ')
    said(server, "/put?item=kept")
    assert said(server, "/state") == {"taken": [], "left": 1}
    assert said(server, "/take") == "kept"


def test_a_drain_ends_the_waits_by_503(serve: Serve) -> None:
    server = serve(APP)
    with waiting(server, "/happens", "/take", "/poll") as clients:
        server.signal(signal.SIGTERM)
        assert [client.read_response().status for client in clients] == [503] * 3
    assert server.wait() == 0


@pytest.mark.in_loop  # where threads serve, the loop has time to end the wait first
def test_an_item_that_is_put_as_its_client_leaves_is_not_lost(serve: Serve, tmp_path: Path) -> None:
    """The loop learns of both in one step: the wait is ended, then the item put, and only then goes
    the code on that waited."""
    server = serve(APP)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with waiting(server, "/take", "/take") as (leaving, staying), server.connect() as other:
        with server.connect() as holding:
            holding.send(request(f"/holding-up?gate={gate}"))
            server.wait_for_log("holds up\n")
            leaving.close()
            other.send(request("/put?item=one"))
            gate.write_text("")
            assert holding.read_response().status == 200
        assert other.read_response().status == 200
        assert answers([staying]) == ["one"]
    assert said(server, "/state") == {"taken": ["one"], "left": 0}


def test_an_item_that_is_given_as_the_run_ends_is_not_lost(
    spawn: Callable[..., Process], unix_path: str
) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from meinheld import server\n"
            "from meinheld.sync import Queue\n"
            "queue = Queue()\n"
            "def finish():\n"
            "    queue.put('item')\n"
            "    sys.exit()\n"
            f"server.listen({unix_path!r})\n"
            "server.spawn(queue.get)\n"
            "server.spawn(queue.get)\n"
            "server.schedule_call(0.01, finish)\n"
            "try:\n"
            "    server.run(lambda environ, start_response: [])\n"
            "except SystemExit:\n"
            "    print(queue.qsize(), queue.get_nowait())\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out == "1 item\n"


# ---- many


def visit(server: Server, seed: str, deadline: float, over: Callable[[], bool]) -> None:
    """Takes items, again and again, and leaves at any moment."""
    chance = random.Random(seed)
    while not over() and time.monotonic() < deadline:
        with server.connect() as client:
            for _ in range(chance.randrange(1, 5)):
                client.send(request(f"/take?timeout={chance.choice([0, 0.001, 0.01, 0.05])}"))
                if chance.random() < 0.3:
                    time.sleep(chance.choice([0, 0.001, 0.01]))  # the moment
                    break
                assert client.read_response().status == 200


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_among_requests_of_which_some_leave(
    serve: Serve, seed: int
) -> None:
    server = serve(APP)
    everything = [*range(300)]

    def is_over() -> bool:
        state = said(server, "/state")
        return len(state["taken"]) >= len(everything) and not state["left"]

    said(server, f"/produce?seed={seed}")
    with ThreadPoolExecutor(6) as pool:
        done: list[bool] = []
        deadline = time.monotonic() + 20
        visitors = [
            pool.submit(visit, server, f"{seed} {who}", deadline, lambda: bool(done))
            for who in range(6)
        ]
        try:
            wait_until(is_over, "taken")
        finally:
            done.append(True)
        for visitor in visitors:
            visitor.result()
    assert sorted(said(server, "/state")["taken"]) == everything
    wait_until(lambda: said(server, "/waiting") == 0, "ended the waits")


@pytest.mark.in_loop  # each of them takes a thread
def test_one_publish_answers_a_thousand_polls(serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    try:
        server = serve(APP)
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(1000)]
            for client in clients:
                client.send(request("/poll"))
            wait_until(lambda: said(server, "/waiting") == 1000, "waited")
            number = said(server, "/publish?message=hello")
            news = {"messages": ["hello"], "after": number, "missed": 0}
            assert answers(clients) == [news] * 1000
            assert said(server, "/waiting") == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_client_that_polls_misses_nothing_between_two_polls(serve: Serve) -> None:
    server = serve(APP)
    count = 200
    with server.connect() as client, ThreadPoolExecutor(1) as pool:
        after = json.loads(client.get("/poll?timeout=0").body)["after"]

        def publish() -> None:
            with server.connect() as publisher:
                for number in range(count):
                    assert publisher.get(f"/publish?message={number}").status == 200

        publishing = pool.submit(publish)
        got: list[str] = []
        while len(got) < count:
            news = json.loads(client.get(f"/poll?after={after}").body)
            assert news["messages"] and not news["missed"]
            got += news["messages"]
            after = news["after"]
        publishing.result()
    assert got == [*map(str, range(count))]


# ---- wrong calls


def test_a_greenlet_of_the_applications_can_wake_but_not_wait(serve: Serve) -> None:
    *refused, item = said(serve(APP), "/elsewhere")
    assert [result.partition(":")[0] for result in refused] == ["RuntimeError"] * 3
    assert item == "from a greenlet"
