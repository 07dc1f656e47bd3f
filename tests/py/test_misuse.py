"""Apps that break PEP 3333 harm themselves: each costs its own response, is in the log, and the
server and its other clients go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from apps.misuse import BAD_CLOSES, EXCEPTIONS, GOOD_RESULTS, LEAVING, PHASES, RESULTS
from harness import Server, count_tracebacks
from rawclient import request

Serve = Callable[..., Server]
MISUSE = "apps.misuse:app"


def still_well(server: Server) -> bool:
    with server.connect() as client:
        return client.get("/well").body == b"well"


# ---- what they return


def test_what_is_no_iterable_of_bytes_is_a_500(serve: Serve) -> None:
    server = serve(MISUSE, tracebacks=2 * len(RESULTS))
    with server.connect() as client:
        for name in RESULTS:
            for method in ("GET", "HEAD"):
                assert client.get(f"/result?{name}", method=method).status == 500, name
    assert still_well(server)
    assert "a response body is made of bytes, not of str" in server.log


def test_an_unusual_iterable_of_bytes_is_sent(serve: Serve) -> None:
    with serve(MISUSE).connect() as client:
        for name, (_, body) in GOOD_RESULTS.items():
            for _ in range(2):
                assert client.get(f"/good-result?{name}").body == body, name


def test_a_len_that_lies_costs_what_is_over(serve: Serve) -> None:
    server = serve(MISUSE)
    with server.connect() as client:
        assert client.get("/long-len").body == b"all"
        assert client.get("/well").body == b"well"
    assert server.log.startswith("GET /long-len: the body is not as long as")


def test_a_close_that_can_not_be_called_is_logged_and_spoils_no_response(serve: Serve) -> None:
    server = serve(MISUSE, tracebacks=len(BAD_CLOSES))
    with server.connect() as client:
        for name in BAD_CLOSES:
            assert client.get(f"/bad-close?{name}").body == b"all of it"
    assert still_well(server)


# ---- what they raise


@pytest.mark.parametrize("phase", PHASES)
def test_whatever_is_raised_costs_its_own_response_alone(serve: Serve, phase: str) -> None:
    # To an iterator, raising StopIteration is how to end.
    names = [
        name
        for name in EXCEPTIONS
        if not (name == "StopIteration" and phase in ("first", "second"))
    ]
    server = serve(MISUSE, tracebacks=len(names))
    for number, name in enumerate(names):
        with server.connect() as client:
            client.send(request(f"/raising?{phase},{name}"))
            if PHASES[phase]:
                assert client.read_response().status == PHASES[phase], name
                assert client.get("/well").body == b"well"
            else:
                received = client.read_to_abort()
                assert received.endswith(b"5\r\npiece\r\n"), name
        server.wait_for_log(f"/raising?{phase},{name} failed")
        assert count_tracebacks(server.log) == number + 1, name
    assert still_well(server)


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("phase", PHASES)
def test_what_asks_to_leave_ends_the_server_and_is_not_lost(
    serve: Serve, phase: str, name: str
) -> None:
    status, tracebacks = {"SystemExit": (3, 0), "KeyboardInterrupt": (-2, 1)}[name]
    server = serve(MISUSE, status=status, tracebacks=tracebacks)
    with server.connect() as client:
        client.send(request(f"/raising?{phase},{name}"))
        received = client.read_to_abort()
    assert b" 500 " not in received
    assert (b"\r\n0\r\n" in received) is (phase == "close")
    assert server.wait() == status


# ---- things of a request that has ended


@pytest.mark.parametrize("how", ["list", "generator", "write"])
def test_a_write_of_a_response_that_has_ended_goes_nowhere(serve: Serve, how: str) -> None:
    server = serve(MISUSE)
    with server.connect() as client, server.connect() as other:
        for late in (client, other, client):
            assert client.get(f"/keeping?{how}").body == b"kept"
            assert late.get("/late-write").body == b"done"
            client.expect_nothing_buffered()
    server.stop()
    assert server.log == ""


@pytest.mark.parametrize("how", ["list", "generator", "write"])
def test_a_start_response_of_a_response_that_has_ended_starts_no_other(
    serve: Serve, how: str
) -> None:
    server = serve(MISUSE, tracebacks=4)
    with server.connect() as client, server.connect() as other:
        assert client.get(f"/keeping?{how}").body == b"kept"
        for late in (client, other):
            assert late.get("/late-start").status == 500
            assert late.get("/others-start").status == 500
        client.expect_nothing_buffered()
        assert client.get("/well").body == b"well"


def test_one_iterator_for_two_requests_gives_each_a_part(serve: Serve) -> None:
    with serve(MISUSE).connect() as client:
        assert client.get("/share?new").body == b"0 1 2 "
        assert client.get("/share").body == b""
        for _ in range(3):
            assert client.get("/share-list").body == b"one two"


def test_a_write_within_the_iteration_is_sent_in_its_turn(serve: Serve) -> None:
    with serve(MISUSE).connect() as client:
        assert client.get("/write-in-iteration").chunks == [b"a", b"b", b"c"]


def test_a_write_in_another_thread_is_sent_or_refused(serve: Serve, threads: int) -> None:
    refused = b"a response can only be sent in the thread of its request"
    with serve(MISUSE).connect() as client:
        answers = client.get("/write-in-thread").chunks
        assert answers == [b"a", b"b" if threads else refused]


def test_a_method_that_the_app_has_changed_is_the_app_s_affair(serve: Serve) -> None:
    with serve(MISUSE).connect() as client:
        assert client.get("/renamed?HEAD").body == b"ab"
        assert client.get("/renamed?GET", method="HEAD").framing == "none"
        assert client.get("/well").body == b"well"


def test_a_piece_that_could_not_be_waited_for_is_sent_as_it_was(serve: Serve) -> None:
    server = serve(MISUSE)
    with server.connect() as other, server.connect(receive_buffer=4096, timeout=30) as client:
        for _ in range(3):
            client.send(request("/write-elsewhere"))
            server.wait_for_rest()
            assert other.get("/well").body == b"well"
            chunks = client.read_response().chunks
            assert chunks
            for number, chunk in enumerate(chunks):
                assert chunk == b"%07d " % number * (1 << 18)
        assert client.get("/well").body == b"well"
