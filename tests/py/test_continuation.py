"""Continuations: a request that waits, whoever resumes it and however it ends; each row of the
table of states; and wrong calls."""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from harness import Process, Server, wait_until
from rawclient import CHUNKED, Client, request

Serve = Callable[..., Server]
APP = "apps.continuations:app"


def wait_at(server: Server, client: Client, path: str, name: str = "a", **query: object) -> None:
    """Sends a request that waits, and returns once it does."""
    client.send(request(f"{path}?{urlencode({'name': name, **query})}"))
    server.wait_for_log(f"{name} waits\n")


def tell(server: Server, path: str, name: str = "a", **query: object) -> str:
    """What another request is answered that has done something to the one of this name."""
    with server.connect() as client:
        values = {key: json.dumps(value) for key, value in query.items()}
        return client.get(f"{path}?{urlencode({'name': name, **values})}").body.decode()


def resume(server: Server, name: str = "a", args: object = (), kwargs: object = None) -> str:
    return tell(server, "/call", name, args=args, kwargs=kwargs or {})


# ---- what suspend returns


@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [
        ([], {}, []),
        (["one"], {}, "one"),
        ([["a", "list"]], {}, ["a", "list"]),
        ([1, 2], {}, [1, 2]),
        ([], {"key": 3}, {"key": 3}),
        ([1, 2], {"key": 3}, [[1, 2], {"key": 3}]),
    ],
)
def test_suspend_returns_what_resume_was_given(
    serve: Serve, args: list[object], kwargs: dict[str, object], result: object
) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/view")
        assert resume(server, args=args, kwargs=kwargs) == "true"
        assert json.loads(client.read_response().body) == result


def test_a_request_may_wait_again_and_again_on_a_kept_connection(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        for number in range(3):
            client.send(request(f"/repeatedly?name={number}"))
            for turn in range(3):
                said = number * 3 + turn + 1
                wait_until(lambda said=said: server.log.count(" waits\n") == said, "waited")  # type: ignore[misc]
                assert resume(server, str(number), [turn]) == "true"
            assert json.loads(client.read_response().body) == [0, 1, 2]


@pytest.mark.parametrize("path", ["/view", "/generator"])
def test_a_request_waits_without_the_middleware_as_well(serve: Serve, path: str) -> None:
    server = serve("apps.continuations:bare" if path == "/view" else APP)
    with server.connect() as client:
        wait_at(server, client, path)
        assert resume(server, args=["x"]) == "true"
        assert client.read_response().body == (b'"x"' if path == "/view" else b'before "x"')


def test_a_request_waits_in_the_middle_of_its_body(serve: Serve) -> None:
    server = serve(APP, stream_request_body=True)
    with server.connect() as client:
        client.send(request("/uploading?name=a", method="POST", fields=[CHUNKED[0]]))
        client.send(b"5\r\nfirst\r\n")
        server.wait_for_log("a waits\n")
        client.send(b"4\r\nrest\r\n0\r\n\r\n")
        assert resume(server, args=[1]) == "true"
        assert client.read_response().body == b"first 1 rest"


def test_a_resume_may_come_from_another_thread(serve: Serve) -> None:
    with serve(APP).connect() as client:
        for _ in range(20):
            assert json.loads(client.get("/by-thread").body) == ["from a thread", [True]]


@pytest.mark.parametrize("timeout", [0, 1e-4, 10])
def test_what_is_resumed_while_waits_begin_and_expire_is_got_once(
    serve: Serve, timeout: float
) -> None:
    server = serve(APP)
    # On a busy machine the thread may have to wait long for its turn to come between two waits.
    with server.connect(timeout=60) as client:
        got, expired = json.loads(client.get(f"/racing?last=1000&timeout={timeout}").body)
    assert got == [*range(1, 1001)]
    assert expired == 0 or timeout == 1e-4


@pytest.mark.in_loop  # signal.signal() works in the main thread only
def test_a_resume_may_come_from_a_signal_handler(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/by-signal")
        server.signal(signal.SIGUSR1)
        assert json.loads(client.read_response().body) == signal.SIGUSR1


def test_while_one_waits_others_are_served(serve: Serve) -> None:
    server = serve(APP)
    clients = []
    for number in range(6):
        clients.append(server.connect())
        wait_at(server, clients[-1], "/view", str(number))
    assert json.loads(tell(server, "/early"))[:2] == [1, "true"]
    for number in reversed(range(6)):
        assert resume(server, str(number), [number]) == "true"
        with clients[number] as client:
            assert client.read_response().body == str(number).encode()


# ---- the table of states


def test_running_a_resume_is_kept_and_a_second_one_is_an_error(serve: Serve) -> None:
    with serve(APP).connect() as client:
        answer = json.loads(client.get("/early").body)
        assert answer == [1, "true", "OSError: this continuation has been resumed already"]


def test_suspended_a_resume_is_queued_and_a_second_one_is_an_error(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/view")
        first, second = json.loads(tell(server, "/twice"))
        assert first == "true"
        # In another thread it may have gone on, and ended, in between.
        assert second in ("OSError: this continuation has been resumed already", "false", "true")
        assert client.read_response().body == b"1"


def test_finished_a_resume_has_no_effect(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        assert client.get("/keep?name=a").body == b"kept"
        # The client may have its answer before the thread that gave it is done.
        wait_until(lambda: resume(server) == "false", "ended")
        wait_at(server, client, "/view", "b")
        assert resume(server, "b") == "true"
        client.read_response()
        wait_until(lambda: resume(server, "b") == "false", "ended")
        assert tell(server, "/others").startswith("OSError: ")


def test_timed_out_a_resume_has_no_effect_until_it_waits_again(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/catching", timeout=0.05)
        server.wait_for_log("a goes on\n")
        while resume(server, args=["late"]) == "false":
            pass  # until it waits again
        assert json.loads(client.read_response().body) == "late"


def test_client_gone_a_resume_has_no_effect(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/view")
    server.wait_for_log("a got ClientDisconnected\na goes on\n")
    assert resume(server) == "false"


STOPPED = """
import sys
from meinheld import server
from meinheld.common import Continuation
from meinheld.middleware import CONTINUATION_KEY, ContinuationMiddleware

kept = []

def app(environ, start_response):
    kept.append(environ[CONTINUATION_KEY])
    if environ["PATH_INFO"] == "/stop":
        server.shutdown(0.1)
    else:
        print("waits", flush=True)
    kept[-1].suspend()

server.listen(sys.argv[1])
print("listens", flush=True)
server.run(ContinuationMiddleware(app), threads=int(sys.argv[2]))
print([continuation.resume() for continuation in kept])
"""


@pytest.mark.parametrize("threads", [0, 8])
def test_server_stopped_a_resume_has_no_effect(
    spawn: Callable[..., Process], unix_path: str, threads: int
) -> None:
    process = spawn([sys.executable, "-c", STOPPED, unix_path, str(threads)])
    wait_until(lambda: process.out == "listens\n", "listened")
    with Client(unix_path) as client, Client(unix_path) as other:
        client.send(request("/"))
        wait_until(lambda: process.out == "listens\nwaits\n", "waited")
        other.send(request("/stop"))
        for each in (client, other):
            assert each.read_response().status == 503
    assert process.wait() == 0, process.log
    assert process.out == "listens\nwaits\n[False, False]\n"


# ---- how a wait ends


def test_a_drain_ends_each_wait_by_503(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client, server.connect() as other:
        wait_at(server, client, "/view")
        wait_at(server, other, "/view", "b")
        server.signal(signal.SIGTERM)
        for each in (client, other):
            response = each.read_response()
            assert response.status == 503
            assert response.get("Retry-After") == "1"
            assert response.closes
    assert server.wait() == 0
    assert server.log.count(" got ServerStopping\n") == 2
    assert "Traceback" not in server.log


def test_a_time_out_is_an_error_of_the_application(serve: Serve) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        wait_at(server, client, "/view", timeout=0.05)
        assert client.read_response().status == 500
    server.wait_for_log("a got timeout\n")
    assert "nothing came in 0.05 seconds" in server.log


@pytest.mark.parametrize("error", ["LookupError", "instance", "none"])
def test_throw_raises_in_the_request(serve: Serve, error: str) -> None:
    server = serve(APP, tracebacks=0 if error == "none" else 1)
    with server.connect() as client, server.connect() as other:
        wait_at(server, client, "/view")
        answer = other.get(f"/throw?name=a&error={error}").body
        if error == "none":
            assert answer == b"TypeError: throw() takes an exception, not int"
            assert resume(server) == "true"
            assert client.read_response().status == 200
        else:
            assert answer == b"true"
            assert client.read_response().status == 500
            assert f"a got {'ValueError' if error == 'instance' else error}\n" in server.log


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("path", ["/view", "/generator", "/repeatedly"])
def test_a_client_that_leaves_ends_the_wait_at_once(serve: Serve, path: str, how: str) -> None:
    server = serve(APP)
    client = server.connect()
    wait_at(server, client, path)
    if how == "half-close":
        client.finish_sending()
        client.read_to_abort()
    elif how == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.wait_for_log("a got ClientDisconnected\na goes on\n")
    server.stop()
    assert server.log == "a waits\na got ClientDisconnected\na goes on\n"


def test_a_half_closed_client_is_waited_for_if_asked_for(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/half-closed")
        client.finish_sending()
        assert resume(server, args=["x"]) == "true"
        assert client.read_response().body == b'"x"'


def test_a_half_closed_client_that_leaves_ends_the_wait_all_the_same(
    serve: Serve, unix_path: str
) -> None:
    server = serve(APP, address=unix_path)
    with server.connect() as client:
        wait_at(server, client, "/half-closed")
        client.finish_sending()
    server.wait_for_log("a got ClientDisconnected\n")


def test_a_pipelined_request_is_no_leaving(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(request("/view?name=a") + request("/early"))
        server.wait_for_log("a waits\n")
        assert resume(server, args=["x"]) == "true"
        assert client.read_response().body == b'"x"'
        assert json.loads(client.read_response().body)[0] == 1


def test_a_generator_that_is_told_of_the_end_after_its_head_is_cut_off(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/generator")
        server.signal(signal.SIGTERM)
        assert client.read_to_abort().endswith(b"before \r\n")
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_more_than_max_suspended_are_answered_503(serve: Serve) -> None:
    server = serve(APP, max_suspended=2)
    with server.connect() as one, server.connect() as two, server.connect() as three:
        wait_at(server, one, "/view", "1")
        wait_at(server, two, "/view", "2")
        response = three.get("/view?name=3")
        assert (response.status, response.get("Retry-After")) == (503, "1")
        assert resume(server, "1") == "true"
        assert one.read_response().status == 200
        wait_at(server, three, "/view", "4")
        assert resume(server, "4") == "true"
        assert three.read_response().status == 200
        assert resume(server, "2") == "true"
        assert two.read_response().status == 200
    server.stop()
    assert "Traceback" not in server.log


def test_the_access_log_says_499_of_a_client_that_left(serve: Serve) -> None:
    server = serve(APP, access_log=2)
    with server.connect() as client:
        wait_at(server, client, "/view")
    server.wait_for_log('"GET /view?name=a HTTP/1.1" 499 - ')


# ---- wrong calls


def test_only_a_request_s_own_greenlet_and_thread_can_wait(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client, server.connect() as other:
        results = json.loads(client.get("/elsewhere").body)
        assert [result.partition(":")[0] for result in results] == ["OSError", "RuntimeError"] * 2
        wait_at(server, client, "/view")
        assert other.get("/others?name=a").body.startswith(b"OSError: ")
        assert resume(server) == "true"
        assert client.read_response().status == 200


@pytest.mark.in_loop  # a greenlet of another thread can't be switched to at all
@pytest.mark.parametrize("how", ["switch", "throw", "kill", "parent", "child"])
def test_a_switch_by_hand_is_an_error_and_spoils_nothing(serve: Serve, how: str) -> None:
    server = serve(APP)
    with server.connect() as client, server.connect() as other:
        wait_at(server, client, "/view")
        lines = other.get(f"/by-hand?name=a&how={how}").body.decode().splitlines()
        message = "RuntimeError: a request is told to go on by its continuation"
        assert all(line.startswith(message) for line in lines), lines
        assert len(lines) == 2
        assert resume(server, args=["x"]) == "true"
        assert client.read_response().body == b'"x"'
        assert json.loads(other.get("/early").body)[0] == 1
        wait_at(server, client, "/view", "b")
        assert resume(server, "b") == "true"
        assert client.read_response().status == 200


def test_a_timeout_may_be_as_long_as_a_float_can_say(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        wait_at(server, client, "/view", timeout=1e300)
        assert resume(server, args=["x"]) == "true"
        assert client.read_response().body == b'"x"'


def test_a_timeout_is_seconds(serve: Serve) -> None:
    with serve(APP).connect() as client:
        lines = client.get("/arguments").body.decode().splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["ValueError:"] * 3 + ["TypeError:"] * 2
    assert all("timeout must be" in line for line in lines)
