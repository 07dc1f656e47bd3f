"""wsgi.input, as PEP 3333 has it and files are: of a body in memory, in a file, or still coming."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
from collections.abc import Callable, Iterable
from io import BufferedReader, BytesIO
from urllib.parse import urlencode

import pytest
from apps.inputs import Calls, call_all
from harness import Server, wait_until
from meinheld._input import NO_INPUT
from rawclient import CHUNKED, Client, chunked, request

Serve = Callable[..., Server]
MEBIBYTE = 1024 * 1024
LAST_CHUNK = b"0\r\n\r\n"
LINES = b"one\ntwo\r\n\n\nlast, without an end"
# Where a body is when the app reads it.
IN_MEMORY: dict[str, object] = {}
IN_FILE: dict[str, object] = {"client_body_buffer_size": 0}
COMING: dict[str, object] = {"stream_request_body": True}
ANYWHERE = pytest.mark.parametrize(
    "where", [IN_MEMORY, IN_FILE, COMING], ids=["in memory", "in a file", "coming"]
)
CHUNK = pytest.mark.parametrize("chunk", [0, 1, 7], ids=["by length", "chunks of 1", "chunks of 7"])


@pytest.fixture
def start(serve: Serve, unix_path: str) -> Callable[..., Server]:
    """Serves apps.inputs at a unix socket, where a test knows what the server has read."""

    def starts(**settings: object) -> Server:
        return serve("apps.inputs:app", address=unix_path, **settings)

    return starts


def head_of(target: str, body: bytes, chunk: int, fields: Iterable[tuple[str, str]] = ()) -> bytes:
    framing = CHUNKED if chunk else [("Content-Length", str(len(body)))]
    return request(target, method="POST", fields=[*framing, *fields])


def framed(body: bytes, chunk: int) -> bytes:
    return chunked(body, chunk) if chunk else body


def post_in_parts(client: Client, target: str, body: bytes, chunk: int, cuts: list[int]) -> bytes:
    """Posts body, cut there, each part by itself; returns the answer's."""
    client.send_separately(head_of(target, body, chunk))
    data = framed(body, chunk)
    for begin, end in zip([0, *cuts], [*cuts, len(data)]):
        client.send_separately(data[begin:end])
    return client.read_response().body


# ---- as a file


def results_of(body: bytes, where: dict[str, object], calls: Calls) -> list[list[object]]:
    """What the app may get: files in memory and others count the hint of readlines unlike, and what
    was to come may be there with its head."""
    results: list[list[object]] = []
    if where is not IN_FILE:
        results.append(call_all(BytesIO(body), calls))
    if where is not IN_MEMORY:
        results.append(call_all(BufferedReader(BytesIO(body)), calls))
    return results


CALLS: list[Calls] = [
    [("read", "")],
    [("read", "-1"), ("read", ""), ("read", "1"), ("read", "-1"), ("readline", "")],
    [("read", "None"), ("readline", "None")],
    [("read", "0"), ("read", "3"), ("read", "0"), ("read", "1000"), ("read", "1000")],
    [("readline", "")] * 8,
    [("readline", "-1")] * 8,
    [("readline", "3")] * 20,
    [("readline", "0"), ("readline", "1000"), ("readline", "")],
    [("readlines", ""), ("readlines", "")],
    [("readlines", "None"), ("readlines", "-1")],
    [("readlines", "1"), ("readlines", "5"), ("readlines", "0")],
    [("iterate", ""), ("iterate", ""), ("next", ""), ("read", "")],
    [("next", ""), ("read", "2"), ("readline", ""), ("next", ""), ("next", ""), ("next", "")],
]
# Not in a file: PyPy's BufferedRandom.readinto gives bytes twice. PEP 3333 does not ask for it.
INTO: Calls = [("readinto", "5"), ("readinto", "1000"), ("readinto", "1"), ("readinto", "0")]


@ANYWHERE
@CHUNK
def test_a_body_is_read_as_from_a_file(
    start: Callable[..., Server], where: dict[str, object], chunk: int
) -> None:
    with start(**where).connect() as client:
        for calls in CALLS if where is IN_FILE else [*CALLS, INTO]:
            expected = results_of(LINES, where, calls)
            target = f"/calls?{urlencode(calls)}"
            for cuts in ([], [4, 5, 9]):
                assert json.loads(post_in_parts(client, target, LINES, chunk, cuts)) in expected


def some_call(draw: random.Random) -> tuple[str, str]:
    method = draw.choice(["read", "read", "readline", "readline", "readlines", "next"])
    return method, str(draw.choice([0, 1, 2, 5, 17, 100, 5000, 70_000]))


def some_body(draw: random.Random) -> bytes:
    """Lines of any length."""
    lines = [
        draw.randbytes(draw.choice([0, 1, 5, 50, 3000, 70_000])).replace(b"\n", b"")
        for _ in range(draw.randrange(12))
    ]
    return b"\n".join(lines)


@ANYWHERE
@pytest.mark.parametrize("seed", range(4))
def test_any_calls_on_any_body_give_what_a_file_gives(
    start: Callable[..., Server], where: dict[str, object], seed: int
) -> None:
    draw = random.Random(seed)
    with start(**where).connect() as client:
        for _ in range(15):
            body = some_body(draw)
            calls = [some_call(draw) for _ in range(draw.randrange(1, 12))]
            calls.append(draw.choice([("read", ""), ("iterate", ""), ("readlines", "")]))
            chunk = draw.choice([0, 100, 5000, 100_000])
            size = len(framed(body, chunk))
            cuts = sorted(draw.randrange(size + 1) for _ in range(draw.randrange(5)))
            got = json.loads(post_in_parts(client, f"/calls?{urlencode(calls)}", body, chunk, cuts))
            assert got in results_of(body, where, calls), calls


def test_no_body_is_read_as_from_an_empty_file() -> None:
    for method in ("read", "readline", "readlines"):
        for argument in ("", "-1", "0", "5", "None"):
            calls = [(method, argument)]
            assert call_all(NO_INPUT, calls) == call_all(BytesIO(), calls)
    assert iter(NO_INPUT) is NO_INPUT
    assert list(NO_INPUT) == []
    with pytest.raises(StopIteration):
        next(NO_INPUT)
    NO_INPUT.close()
    assert NO_INPUT.read() == b""


@pytest.mark.parametrize("stream", [False, True])
def test_no_body_never_waits(start: Callable[..., Server], stream: bool) -> None:
    calls = [("read", ""), ("read", "1"), ("readline", ""), ("readlines", ""), ("next", "")]
    target = f"/calls?{urlencode(calls)}"
    with start(stream_request_body=stream).connect() as client:
        for data in (
            request(target),
            request(target, method="POST"),
            request(target, method="POST", body=b""),
            request(target, method="POST", fields=CHUNKED) + chunked(b"", 1),
        ):
            client.send(data)
            assert json.loads(client.read_response().body) == ["", "", "", [], None]


def test_a_long_line_is_read_whole_however_it_comes(start: Callable[..., Server]) -> None:
    line = b"x" * (4 * MEBIBYTE) + b"\n"
    with start(stream_request_body=True).connect(timeout=30) as client:
        for chunk in (0, 100):
            target = f"/calls?{urlencode([('readline', ''), ('readline', '')])}"
            client.send(head_of(target, line, chunk) + framed(line, chunk))
            assert json.loads(client.read_response().body) == [line.decode(), ""]


# ---- what environ says


@pytest.mark.parametrize("where", [IN_MEMORY, IN_FILE], ids=["in memory", "in a file"])
@CHUNK
def test_a_body_that_is_complete_has_its_length_in_environ(
    start: Callable[..., Server], where: dict[str, object], chunk: int
) -> None:
    with start(**where).connect() as client:
        told = post_in_parts(client, "/told", LINES, chunk, [5])
        assert json.loads(told) == [str(len(LINES)), True, None]


def test_a_coming_body_has_the_length_in_environ_that_its_head_says(
    start: Callable[..., Server],
) -> None:
    with start(**COMING).connect() as client:
        assert json.loads(post_in_parts(client, "/told", b"hello", 0, [1])) == ["5", True, None]
        assert json.loads(post_in_parts(client, "/told", b"hello", 2, [1])) == [None, True, None]


def test_a_body_that_comes_with_its_head_has_its_length_in_environ(
    start: Callable[..., Server],
) -> None:
    with start(**COMING).connect() as client:
        for chunk in (0, 1, 2, 5):
            client.send(head_of("/told", b"hello", chunk) + framed(b"hello", chunk))
            assert json.loads(client.read_response().body) == ["5", True, None]


# ---- when the app is called


@CHUNK
def test_an_app_is_not_called_before_the_body_is_complete(
    start: Callable[..., Server], chunk: int
) -> None:
    with start().connect() as client:
        data = framed(LINES, chunk)
        client.send_separately(head_of("/refuse", LINES, chunk))
        client.send_separately(data[:-1])
        client.expect_nothing_buffered()
        client.send(data[-1:])
        assert client.read_response().status == 403


@CHUNK
def test_an_app_is_called_before_a_body_that_is_streamed(
    start: Callable[..., Server], chunk: int
) -> None:
    with start(**COMING).connect() as client:
        for _ in range(2):
            client.send(head_of("/refuse", LINES, chunk))
            assert client.read_response().status == 403
            client.send(framed(LINES, chunk))


@CHUNK
def test_what_has_come_is_read_without_waiting_for_more(
    start: Callable[..., Server], chunk: int
) -> None:
    with start(**COMING).connect() as client:
        client.send_separately(head_of("/echo", b"a\nb\nc", chunk))
        data = framed(b"a\nb\nc", chunk)
        end = data.index(b"\n") + 1 if not chunk else data.index(b"a") + chunk * 2 + 5
        client.send(data[:end])
        head = client.read_head()
        assert client.read_some(7) == b"2\r\na\n\r\n"
        client.send(data[end:])
        client.read_body(head)
        assert head.body == b"b\nc"


@pytest.mark.in_loop("there are not so many threads")
def test_others_are_served_while_a_body_is_waited_for(start: Callable[..., Server]) -> None:
    server = start(**COMING)
    target = f"/calls?{urlencode([('read', '3'), ('readline', ''), ('read', '')])}"
    slow = [server.connect() for _ in range(20)]
    with server.connect() as quick:
        for number, client in enumerate(slow):
            client.send_separately(head_of(target, LINES, number % 3))
            assert quick.get("/refuse").status == 403
        datas = [framed(LINES, number % 3) for number in range(20)]
        for end in range(max(map(len, datas))):
            for client, data in zip(slow, datas):
                client.send(data[end : end + 1])
            assert quick.get("/refuse").status == 403
    for client in slow:
        with client:
            assert json.loads(client.read_response().body) == ["one", "\n", LINES[4:].decode()]


# ---- one request and the next


@ANYWHERE
@CHUNK
@pytest.mark.parametrize("separately", [False, True])
def test_what_an_app_leaves_unread_is_no_part_of_the_next_request(
    start: Callable[..., Server], where: dict[str, object], chunk: int, separately: bool
) -> None:
    sent: list[tuple[bytes, str, list[str]]] = []
    for method in ("POST", "GET", "HEAD"):
        for calls, results in (
            ([("read", "")], [LINES.decode()]),
            ([("read", "0")], [""]),
            ([("readline", "")], ["one\n"]),
            ([("read", "5"), ("readline", "1")], [LINES[:5].decode(), LINES[5:6].decode()]),
        ):
            head = head_of(f"/calls?{urlencode(calls)}", LINES, chunk).replace(
                b"POST", method.encode()
            )
            sent += [(head, method, results), (framed(LINES, chunk), "", [])]
    with start(**where).connect() as client:
        if not separately:
            client.send(b"".join(data for data, _, _ in sent))
        answers = []
        for data, method, expected in sent:
            if separately:
                client.send_separately(data)
            if method:
                answers.append((method, expected))
        for method, expected in answers:
            body = client.read_response(method=method).body
            assert method == "HEAD" or json.loads(body) == expected
        assert client.get("/told").body == b"[null, true, null]"


# ---- 100-continue


def expecting(target: str, chunk: int = 0) -> bytes:
    return head_of(target, b"hello", chunk, [("Expect", "100-continue")])


@pytest.mark.parametrize(("stream", "chunk"), [(False, 0), (True, 0), (True, 2)])
def test_an_app_can_refuse_a_body_before_it_is_sent(
    start: Callable[..., Server], stream: bool, chunk: int
) -> None:
    with start(stream_request_body=stream).connect() as client:
        client.send(expecting("/refuse", chunk))
        response = client.read_response()
        assert (response.status, response.body) == (403, b"no")
        assert response.closes  # what comes next may be the body, or a request (RFC 9110 10.1.1)
        client.expect_close()


@pytest.mark.parametrize(("stream", "chunk"), [(False, 0), (True, 0), (True, 2)])
def test_an_app_tells_a_client_to_continue_by_its_first_read(
    start: Callable[..., Server], stream: bool, chunk: int
) -> None:
    target = f"/calls?{urlencode([('read', '1'), ('readline', ''), ('read', '')])}"
    with start(stream_request_body=stream).connect() as client:
        for _ in range(2):
            client.send(expecting(target, chunk))
            assert client.read_head().status == 100
            data = framed(b"hello", chunk)
            for end in range(len(data)):
                client.send_separately(data[end : end + 1])
            response = client.read_head()
            assert response.status == 200
            client.read_body(response)
            assert json.loads(response.body) == ["h", "ello", ""]


def test_a_chunked_body_that_a_client_asks_about_is_collected_to_be_counted(
    start: Callable[..., Server],
) -> None:
    with start().connect() as client:
        client.send(expecting("/told", 2))
        assert client.read_head().status == 100
        client.send(framed(b"hello", 2))
        assert json.loads(client.read_response().body) == ["5", True, None]


@pytest.mark.parametrize("chunk", [0, 2])
def test_no_100_follows_a_response_that_has_begun(start: Callable[..., Server], chunk: int) -> None:
    with start(**COMING).connect() as client:
        client.send(expecting("/let-through-late", chunk))
        response = client.read_head()
        assert response.status == 200
        assert client.read_some(10) == b"5\r\nbegun\r\n"
        client.send(framed(b"hello", chunk))
        client.read_body(response)
        assert response.body == b"hello"


# ---- bodies that do not come


def begun(target: str, chunk: int) -> bytes:
    """A request without the end of its body."""
    return head_of(target, LINES, chunk) + framed(LINES, chunk)[:-2]


@CHUNK
@pytest.mark.parametrize("how", ["half-close", "close", "reset"])
def test_a_client_that_leaves_in_mid_body_is_an_error_each_time_it_is_read(
    serve: Serve, chunk: int, how: str
) -> None:
    server = serve("apps.inputs:app", **COMING)
    with server.connect() as client:
        client.send(begun("/caught", chunk))
        server.wait_for_log("reads")
        if how == "half-close":
            client.finish_sending()
            assert client.read_response().body.startswith(b"ConnectionResetError: [Errno 104] ")
        elif how == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reason = "the connection ended before the request body was complete"
    error = f"ConnectionResetError: [Errno 104] {reason}"
    server.wait_for_log("\n".join(["reads", f"read: {error}", *[error] * 3, ""]))


@CHUNK
def test_an_app_is_not_called_for_a_client_that_leaves_in_mid_body(
    start: Callable[..., Server], chunk: int
) -> None:
    server = start()
    for half in (True, False):
        with server.connect() as client:
            client.send_separately(begun("/caught", chunk))
            if half:
                client.finish_sending()
                assert client.read_to_abort() == b""
    with server.connect() as client:
        assert client.get("/refuse").status == 403
    assert server.stop() == 0
    assert server.log == ""


@CHUNK
@pytest.mark.parametrize("trickles", [False, True])
def test_a_body_that_is_too_slow_is_a_timeout(
    start: Callable[..., Server], chunk: int, trickles: bool
) -> None:
    limits: dict[str, float] = {"body_timeout": 0.1, "min_rate": 0}
    if trickles:
        limits = {"min_rate": 1 << 20, "rate_window": 0.1, "rate_grace": 0}
    server = start(**COMING, limits=limits)
    data = framed(b"x" * 1_000_000, chunk)
    with server.connect() as client:
        client.send_separately(head_of("/caught", data, chunk))
        pieces = (data[at : at + 8] for at in range(0, len(data), 8))
        while trickles and "read:" not in server.log:
            client.send_separately(next(pieces))
        client.read_to_abort()
    server.wait_for_log(
        "read: TimeoutError: [Errno 110] the client was too slow to send its request body\n"
    )


def bad_requests(target: str) -> list[tuple[bytes, str, int]]:
    """Requests, each with its body's error and the status that says so."""
    good = head_of(target, b"", 1) + b"1\r\nx\r\n"
    malformed = "OSError: [Errno 74] the request body is malformed"
    too_large = "OSError: [Errno 27] the request body is larger than max_body"
    return [(good + b"no size\r\n", malformed, 400), (good + b"7fffffff\r\ny", too_large, 413)]


def test_a_bad_body_is_an_error_each_time_it_is_read(start: Callable[..., Server]) -> None:
    server = start(**COMING)
    for data, error, _ in bad_requests("/caught"):
        with server.connect() as client:
            client.send(data)
            response = client.read_response()
            assert response.closes and response.body.decode() == error
        server.wait_for_log("\n".join(["reads", f"read: {error}", *[error] * 3, ""]))


def test_an_error_of_a_body_that_an_app_lets_through_is_the_client_s(
    start: Callable[..., Server],
) -> None:
    server = start(**COMING)
    for data, _, status in bad_requests("/let-through"):
        with server.connect() as client:
            client.send(data)
            response = client.read_response()
            assert (response.status, response.closes) == (status, True)
    with server.connect() as client:
        client.send(begun("/let-through", 0))
        client.finish_sending()
        assert client.read_to_abort() == b""
    assert server.stop() == 0
    assert server.log == "reads\nread\n" * 3  # and nothing of the server's own


def test_an_error_of_a_body_in_mid_answer_cuts_that(start: Callable[..., Server]) -> None:
    server = start(**COMING)
    for data, _, _ in bad_requests("/let-through-late"):
        with server.connect() as client:
            client.send(data)
            rest = client.read_to_abort()
            assert rest.endswith(b"begun\r\n") or b"begun" not in rest
    with server.connect() as client:
        assert client.get("/refuse").status == 403
    assert server.stop() == 0
    assert server.log == ""


def test_an_app_s_own_oserror_is_its_own(start: Callable[..., Server]) -> None:
    server = start(**COMING, tracebacks=1)
    with server.connect() as client:
        client.send_separately(head_of("/own-error", LINES, 0))
        client.send(LINES)
        assert client.read_response().status == 500


# ---- inputs in other hands


@pytest.mark.in_loop("a second thread waits for the first")
def test_two_cannot_read_one_body_at_once_nor_after_its_request(
    start: Callable[..., Server],
) -> None:
    server = start(**COMING)
    with server.connect() as client, server.connect() as other:
        client.send_separately(head_of("/keep", LINES, 0))
        for target in ("/read-kept", "/read-kept-raw"):
            assert other.get(target).body.startswith(b"RuntimeError: ")
        client.send(LINES)
        assert client.read_response().body == LINES
        for target in ("/read-kept", "/read-kept-raw"):
            assert other.get(target).body.startswith(b"ValueError: ")


@CHUNK
def test_what_an_app_does_to_a_coming_body_is_not_the_server_s_end(
    start: Callable[..., Server], chunk: int
) -> None:
    with start(**COMING).connect() as client:
        for _ in range(2):
            got = post_in_parts(client, "/take-apart", LINES, chunk, [1])
            assert LINES.startswith(got) and got


@pytest.mark.parametrize("where", [IN_MEMORY, IN_FILE], ids=["in memory", "in a file"])
def test_a_body_that_is_complete_is_closed_with_its_request(
    start: Callable[..., Server], where: dict[str, object]
) -> None:
    with start(**where).connect() as client:
        assert client.get("/keep", method="POST", body=LINES).body == LINES

        def is_closed() -> bool:
            return client.get("/read-kept").body.startswith(b"ValueError: ")

        wait_until(
            is_closed, "closed the body"
        )  # which a thread does once its answer is on its way


@pytest.mark.parametrize("target", ["/in-thread", "/in-greenlet"])
def test_a_body_can_only_be_waited_for_where_its_request_runs(
    start: Callable[..., Server], target: str
) -> None:
    with start(**COMING).connect() as client:
        client.send(head_of(target, LINES, 0))
        reason = "a request can only wait in its own greenlet and thread, until it ends"
        refused = f"RuntimeError: {reason} ".encode()
        assert client.read_head().get("Content-Length") == str(len(refused) + len(LINES))
        assert client.read_some(len(refused)) == refused
        client.send(LINES)
        assert client.read_some(len(LINES)) == LINES


# ---- back-pressure


def resident(server: Server) -> int:
    """The most memory that it has had, in bytes."""
    with open(f"/proc/{server.pid}/status") as file:
        match = re.search(r"VmHWM:\s+(\d+) kB", file.read())
    assert match
    return int(match[1]) * 1024


@pytest.mark.parametrize("chunk", [0, MEBIBYTE])
def test_a_gibibyte_that_is_read_as_it_comes_takes_no_memory(serve: Serve, chunk: int) -> None:
    server = serve("apps.inputs:app", **COMING, max_content_length=1 << 31)
    piece = bytes(MEBIBYTE)
    size = 1024 * MEBIBYTE
    fields = CHUNKED if chunk else [("Content-Length", str(size))]
    with server.connect(timeout=50) as client:
        assert client.get("/size", method="POST", body=piece).body == str(MEBIBYTE).encode()
        before = resident(server)
        client.send(request("/size", method="POST", fields=fields))
        for _ in range(1024):
            client.send(framed(piece, chunk).removesuffix(LAST_CHUNK))
        client.send(LAST_CHUNK if chunk else b"")
        assert client.read_response().body == str(size).encode()
        assert resident(server) - before < 32 * MEBIBYTE


def test_an_app_that_does_not_read_holds_up_its_client(serve: Serve) -> None:
    """It has too much unread of the answer itself, and nobody else is held up."""
    server = serve("apps.inputs:app", **COMING, max_content_length=1 << 31)
    size = 1024 * MEBIBYTE
    line = b"x" * 1023 + b"\n"
    with server.connect(receive_buffer=65536) as client, server.connect() as other:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        assert other.get("/echo", method="POST", body=line).body == line
        before = resident(server)
        client.send(request("/echo", method="POST", fields=[("Content-Length", str(size))]))
        sent, rounds = 0, 0
        client.socket.setblocking(False)
        while rounds < 50:
            try:
                sent += client.socket.send(line * 64)
                rounds = 0
            except BlockingIOError:
                assert other.get("/refuse").status == 403
                rounds += 1
            assert sent < 64 * MEBIBYTE
        assert resident(server) - before < 32 * MEBIBYTE
