"""start_response and write: what they take, what they refuse, and when the head goes (PEP 3333)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from apps.starts import BAD, EXC_INFOS, GOOD
from harness import Server
from rawclient import request

Serve = Callable[..., Server]
STARTS = "apps.starts:app"


def still_well(server: Server) -> bool:
    with server.connect() as client:
        return client.get("/good?code-alone").body == b"x"


# ---- what is refused


def test_a_bad_status_or_header_is_a_500_and_never_sent(serve: Serve) -> None:
    server = serve(STARTS, tracebacks=2 * len(BAD))
    with server.connect() as client:
        for name in BAD:
            for _ in range(2):
                response = client.get(f"/bad?{name}")
                assert response.status == 500, name
                fields = {field for field, _ in response.fields}
                assert fields == {"Content-Type", "Content-Length", "Date", "Server"}, name
    assert still_well(server)


def complaint(name: str) -> str:
    """How the message must begin that says what is wrong with BAD[name]."""
    status, fields = BAD[name]
    if name == "length-twice":
        return "ValueError: status and headers that may not be sent together"
    if not isinstance(status, str):
        return f"TypeError: status must be a str, not {type(status).__name__}"
    if not isinstance(fields, list):
        return f"TypeError: headers must be a list, not {type(fields).__name__}"
    if name.startswith("status"):
        return f"ValueError: a status that may not be sent: {status!r}"
    if name.startswith("fields"):
        return f"TypeError: a header must be a tuple (name, value), not {fields[0]!r}"
    if name.endswith(("-int", "-bytes", "-none")):
        return f"TypeError: a header's name and value must be str: {fields[0]!r}"
    return f"ValueError: a header that may not be sent: {fields[0]!r}"


def test_start_response_itself_refuses_what_may_not_be_sent_and_names_it(serve: Serve) -> None:
    with serve(STARTS).connect() as client:
        for name in BAD:
            response = client.get(f"/caught?{name}")
            assert (response.status, response.body.decode()) == (299, complaint(name)), name


def test_after_a_call_that_failed_another_needs_exc_info(serve: Serve) -> None:
    server = serve(STARTS, tracebacks=1)
    with server.connect() as client:
        assert client.get("/again-without-exc-info").status == 500
    server.wait_for_log("start_response was called a second time, without exc_info")


def test_the_head_before_a_call_that_failed_is_not_sent(serve: Serve) -> None:
    server = serve(STARTS, tracebacks=1)
    with server.connect() as client:
        assert client.get("/failed-and-returned").status == 500
    assert still_well(server)


def test_a_second_call_without_exc_info_is_an_error(serve: Serve) -> None:
    server = serve(STARTS, tracebacks=2)
    with server.connect() as client:
        assert client.get("/twice").status == 500
        assert client.get("/empty-exc-info").status == 500
    server.wait_for_log("start_response was called a second time, without exc_info")


# ---- what is taken


def test_what_may_be_sent_is_sent_as_it_is(serve: Serve) -> None:
    with serve(STARTS).connect() as client:
        for name, (status, fields) in GOOD.items():
            code, _, reason = status.partition(" ")
            for _ in range(3):  # the third time it is what the server remembers
                response = client.get(f"/good?{name}")
                assert response.status == int(code), name
                assert response.reason == (reason or "OK"), name
                ours = ("Date", "Server", "Content-Length")
                assert [field for field in response.fields if field[0] not in ours] == fields, name


def test_exc_info_may_be_given_by_name(serve: Serve) -> None:
    with serve(STARTS).connect() as client:
        assert client.get("/keywords").body == b"x"


def test_the_list_of_headers_stays_the_app_s(serve: Serve) -> None:
    with serve(STARTS).connect() as client:
        for _ in range(3):
            response = client.get("/changed-later")
            assert (response.get("X-A"), response.body) == ("before", b"True")


# ---- exc_info


@pytest.mark.parametrize("target", ["/replaced", "/replaced-after-empty-pieces"])
def test_exc_info_replaces_a_head_that_has_not_gone(serve: Serve, target: str) -> None:
    with serve(STARTS).connect() as client:
        response = client.get(target)
        assert (response.status, response.body) == (503, b"sorry")
        assert response.get("X-Old") is None
        assert client.get("/good?code-alone").body == b"x"


@pytest.mark.parametrize(
    "target", ["/replaced-too-late", "/replaced-after-write", "/replaced-after-empty-write"]
)
def test_exc_info_after_the_head_has_gone_raises_in_the_app_and_aborts(
    serve: Serve, target: str
) -> None:
    server = serve(STARTS, tracebacks=1)
    with server.connect() as client:
        client.send(request(target))
        received = client.read_to_abort()
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"sorry" not in received and b"never sent" not in received
    assert b"\r\n0\r\n" not in received
    server.wait_for_log("Replaced: caught by the app")


def test_what_is_raised_after_the_head_has_gone_is_the_app_s_own(serve: Serve) -> None:
    with serve(STARTS).connect() as client:
        assert client.get("/raised-again").body == b"first the same"


@pytest.mark.parametrize("name", sorted(EXC_INFOS))
def test_an_exc_info_that_is_none_raises_as_well(serve: Serve, name: str) -> None:
    server = serve(STARTS, tracebacks=1)
    with server.connect() as client:
        client.send(request(f"/no-exc-info?{name}"))
        assert b"never sent" not in client.read_to_abort()
    server.wait_for_log("with an exc_info that is none")


def test_a_thousand_exc_infos_leave_nothing_behind(serve: Serve) -> None:
    server = serve(STARTS, tracebacks=250)
    with server.connect() as client:
        for _ in range(250):
            client.get("/replaced")
            client.get("/replaced-after-empty-pieces")
            client.get("/raised-again")
            with server.connect() as other:
                other.send(request("/replaced-after-write"))
                other.read_to_abort()
        assert client.get("/how-many-alive").body == b"0"


# ---- write


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bytes", None),
        ("subclass", None),
        ("str", "made of bytes, not of str"),
        ("bytearray", "made of bytes, not of bytearray"),
        ("memoryview", "made of bytes, not of memoryview"),
        ("int", "made of bytes, not of int"),
        ("none", "made of bytes, not of NoneType"),
    ],
)
def test_write_takes_bytes_and_nothing_else(serve: Serve, name: str, error: str | None) -> None:
    server = serve(STARTS, tracebacks=int(error is not None))
    with server.connect() as client:
        response = client.get(f"/written?{name}")
        if error is None:
            assert response.body == b"data"
        else:
            assert response.status == 500
            server.wait_for_log(error)


def test_write_beyond_the_content_length_is_cut_and_raises(serve: Serve) -> None:
    server = serve(STARTS)
    with server.connect() as client:
        assert client.get("/written-beyond").body == b"1234"
        assert client.get("/good?code-alone").body == b"x"
    server.stop()
    assert server.log == "write() went beyond the Content-Length, 4\n"


def test_an_app_that_fails_since_it_wrote_too_much_has_answered_all_the_same(serve: Serve) -> None:
    server = serve(STARTS, tracebacks=1)
    with server.connect() as client:
        assert client.get("/written-beyond-and-failed").body == b"1234"
        assert client.get("/good?code-alone").body == b"x"


# ---- when the head goes


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """What an app waits in until the test writes there."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_the_head_does_not_go_before_there_is_a_body(serve: Serve, fifo: Path) -> None:
    server = serve(STARTS)
    with server.connect() as client:
        client.send(request(f"/start-only?{fifo}"))
        server.wait_for_log("waiting")
        client.expect_nothing_buffered()
        fifo.write_bytes(b"go on")
        assert client.read_response().body == b"body"


def test_the_head_goes_with_the_first_write_even_of_nothing(serve: Serve, fifo: Path) -> None:
    with serve(STARTS).connect() as client:
        client.send(request(f"/write-nothing?{fifo}"))
        assert client.read_head().status == 200
        fifo.write_bytes(b"go on")
        assert client.read_some(5) == b"0\r\n\r\n"
