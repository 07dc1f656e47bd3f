"""Answers that hypothesis makes up, as h11 reads them: they must mean what the app said, and what
may not be sent must not reach the wire."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11
import pytest
from apps.told import Told, tell
from harness import Server, count_tracebacks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rawclient import Client, request

Serve = Callable[..., Server]
APP = "apps.told:app"

# No examples by the clock, and the same ones each time.
EXAMPLES: dict[str, Any] = {
    "database": None,
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow],
}

TCHARS = string.digits + string.ascii_letters + "!#$%&'*+-.^_`|~"  # RFC 9110 5.6.2
TEXT = "\t " + "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)]))  # RFC 9110 5.5
CONTROLS = "".join(map(chr, [*range(0x09), *range(0x0A, 0x20), 0x7F]))
# Fields of the connection, which are the library's (RFC 9110 7.6.1).
HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"]
HOP_BY_HOP += ["transfer-encoding"]
# Fields that the library writes whatever the app says.
LIBRARY_S = ["content-length", "transfer-encoding", "connection"]
# Those of the answer to what fails.
REFUSAL = {"Content-Type", "Content-Length", "Date", "Server"}
BODYLESS = (204, 304)

# ---- what is generated

names = st.text(TCHARS, min_size=1, max_size=20).filter(
    lambda name: name.lower() not in [*HOP_BY_HOP, "content-length"]
)
values = st.text(TEXT, max_size=30)
fields = st.one_of(
    st.tuples(names, values),
    st.tuples(st.sampled_from(["Set-Cookie", "set-cookie", "X", "x"]), values),
    st.sampled_from([("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("server", "")]),
)
statuses = st.one_of(st.sampled_from([200, 204, 205, 206, 304, 404, 500]), st.integers(200, 599))
reasons = st.one_of(st.just(""), st.just(" "), st.text(TEXT, min_size=1).map(lambda r: " " + r))
bodies = st.lists(
    st.tuples(st.text(TEXT + "\r\n\0", max_size=20), st.sampled_from([1, 1, 1, 0, 2000])),
    max_size=4,
)
ways = st.sampled_from(["list", "tuple", "generator", "write"])


@st.composite
def answers(draw: st.DrawFn) -> Told:
    """What an app may say."""
    status = f"{draw(statuses)}{draw(reasons)}"
    told = Told(status, draw(st.lists(fields, max_size=5)), draw(bodies), draw(ways))
    if draw(st.booleans()):
        name = draw(st.sampled_from(["Content-Length", "content-length"]))
        at = draw(st.integers(0, len(told.headers)))
        told.headers.insert(at, (name, str(len(told.body))))
    return told


@st.composite
def not_to_be_sent(draw: st.DrawFn) -> Told:
    """An answer with one thing in it that may not be sent, and with the word "leaked"."""
    told = draw(answers())
    control = draw(st.sampled_from(CONTROLS)) + draw(st.sampled_from(["", "X: leaked"]))
    split = draw(st.sampled_from([control, "\r\nX: leaked", "\r\n\r\nleaked", "\u0100"]))
    header: tuple[str, str] | None = None
    what = draw(st.sampled_from(["status", "reason", "name", "value", "hop", "length", "lengths"]))
    if what == "status":
        bad = ["", "20", "99 leaked", "100 leaked", "199", "1000 leaked", "2000", "200leaked"]
        told.status = draw(st.sampled_from([*bad, "abc leaked", " 200", "-20", "2e2", "\xb200 x"]))
    elif what == "reason":
        told.status = "200 leaked" + split
    elif what == "name":
        other = draw(st.sampled_from([split, *' \t:()<>@,;\\"/[]?={}\x80\xff']))
        header = (draw(st.sampled_from(["leaked" + other, other + "leaked", ""])), "leaked")
    elif what == "value":
        header = ("X-Leaked", draw(values) + split + draw(values))
    elif what == "hop":
        cased = draw(st.sampled_from([str.lower, str.upper, str.title]))
        header = (cased(draw(st.sampled_from(HOP_BY_HOP))), "leaked")
    elif what == "length":
        bad = ["", "x", "-1", "+1", "0x1", "1 1", "1,1", "1;leaked", "9223372036854775808"]
        told.headers = [h for h in told.headers if h[0].lower() != "content-length"]
        header = ("Content-Length", draw(st.sampled_from([*bad, "\xb2", "00000000000000000001"])))
    else:
        told.headers.append(("Content-Length", str(len(told.body))))
        header = ("content-length", str(len(told.body)))
    if header:
        told.headers.insert(draw(st.integers(0, len(told.headers))), header)
    told.headers.append(("X-Leaked", "leaked"))
    return told


# ---- what is sent and read


class Reader:
    """h11 as the client of one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._h11 = h11.Connection(h11.CLIENT)

    def ask(self, told: Told, method: str, version: str, connection: str | None) -> None:
        """Sends the question that is answered as told."""
        more = [("Connection", connection)] if connection else []
        target = tell(told)
        self._client.send(request(target, method=method, version=version, fields=more))
        # h11 can't send 1.0; it need only know that a request has gone, and its method.
        headers = [("Host", "test"), *more]
        self._h11.send(h11.Request(method=method, target=target, headers=headers))
        self._h11.send(h11.EndOfMessage())

    def _next(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(self._client.socket.recv(65536))
        return event

    def read(self) -> tuple[h11.Response, bytes, bool]:
        """A response, its body, and whether the connection goes on."""
        response = self._next()
        assert isinstance(response, h11.Response)
        body = b""
        while isinstance(event := self._next(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert not event.headers
        goes_on = self._h11.their_state is h11.DONE
        if goes_on:
            self._h11.start_next_cycle()
        return response, body, goes_on


def fields_of(response: h11.Response) -> list[tuple[str, str]]:
    """All fields, as they came."""
    return [(n.decode("latin-1"), v.decode("latin-1")) for n, v in response.headers.raw_items()]


def named(fields: list[tuple[str, str]], name: str) -> list[str]:
    """Every value of a field."""
    return [value for key, value in fields if key.lower() == name]


def check_head(told: Told, response: h11.Response) -> None:
    """The head says what the app said, and besides only what the library adds."""
    code, _, reason = told.status.partition(" ")
    assert response.status_code == int(code)
    if reason:
        assert response.reason.decode("latin-1") == reason
    said = [(name, value.strip("\t ")) for name, value in told.headers]
    got = fields_of(response)
    for name in ("date", "server"):
        if not named(said, name):
            assert len(named(got, name)) == 1
            got = [field for field in got if field[0].lower() != name]
    own = [field for field in said if field[0].lower() not in LIBRARY_S]
    assert [field for field in got if field[0].lower() not in LIBRARY_S] == own


def check_framing(told: Told, response: h11.Response, bodyless: bool, version: str) -> bool:
    """The body is framed as the standard has it. Returns whether its end is marked."""
    got = fields_of(response)
    length, coding = named(got, "content-length"), named(got, "transfer-encoding")
    if response.status_code == 204:
        assert not length and not coding  # RFC 9110 8.6, RFC 9112 6.1
    elif length:
        assert not coding
        assert length == [str(len(told.body))]
    else:
        assert not named(told.headers, "content-length")
        assert coding == ([] if bodyless or version == "HTTP/1.0" else ["chunked"])
    return bodyless or bool(length or coding)


# ---- the tests


@pytest.mark.timeout(600)
def test_a_response_means_what_the_app_said(serve: Serve) -> None:
    server = serve(APP)

    @settings(max_examples=250, **EXAMPLES)
    @given(
        answers(),
        st.sampled_from(["GET", "GET", "POST", "HEAD"]),
        st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
        st.sampled_from([None, None, "keep-alive", "close"]),
    )
    def holds(told: Told, method: str, version: str, connection: str | None) -> None:
        with server.connect() as client:
            reader = Reader(client)
            # Told a second time, the server answers by what it remembers.
            for _ in range(2):
                reader.ask(told, method, version, connection)
                response, body, goes_on = reader.read()
                bodyless = method == "HEAD" or response.status_code in BODYLESS
                check_head(told, response)
                marked = check_framing(told, response, bodyless, version)
                assert body == (b"" if bodyless else told.body)
                wanted = connection != "close" if version == "HTTP/1.1" else bool(connection)
                assert goes_on is (wanted and connection != "close" and marked)
                said = named(fields_of(response), "connection")
                kept = ["keep-alive"] if version == "HTTP/1.0" else []
                assert said == (kept if goes_on else ["close"])
                if not goes_on:
                    client.expect_close()
                    return
            client.expect_nothing_buffered()

    holds()


@pytest.mark.timeout(600)
def test_what_may_not_be_sent_is_answered_with_500_and_stays_here(tmp_path: Path) -> None:
    server = Server(APP, [("127.0.0.1", 0)], tmp_path / "server", {}, {})
    asked = 0

    @settings(max_examples=250, **EXAMPLES)
    @given(not_to_be_sent(), st.sampled_from(["GET", "HEAD"]))
    def holds(told: Told, method: str) -> None:
        nonlocal asked
        with server.connect() as client:
            for _ in range(2):
                asked += 1
                response = client.get(tell(told), method=method)
                assert (response.status, response.reason) == (500, "Internal Server Error")
                assert {name for name, _ in response.fields} == REFUSAL
                assert method == "HEAD" or response.body == b"Internal Server Error\n"
            client.expect_nothing_buffered()

    try:
        holds()
        assert server.stop() == 0
    finally:
        server.kill()
    assert count_tracebacks(server.log) == asked
