"""What the tests of all sites do: reach them, upload to them, see them stream."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from harness import PATIENCE, Server
from rawclient import Client

HERE = Path(__file__).resolve().parent
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Longer than what is kept in memory (server.set_client_body_buffer_size), and of no period that a
# buffer's size might share.
LARGE = b"".join(b"%d\n" % number for number in range(250_000))


# What the sites have as large.bin.
FILE = LARGE[:300_000]
Ranges = list[tuple[str, int, int]]
# What a client may ask for of it, and what that is.
RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=1000-99999", 1000, 100_000),
    ("bytes=299990-", 299_990, 300_000),
    ("bytes=-7", 299_993, 300_000),
    ("bytes=299990-400000", 299_990, 300_000),
]


def site_environment(**env: str) -> dict[str, str]:
    """The environment of a process that imports from `sites`."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), **env}


def http_client(server: Server) -> httpx.Client:
    """A client of a server, which keeps cookies and follows no redirects."""
    # No site speaks TLS, and to load its certificates would take longer than most visits.
    return httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False, verify=False)


def digest(data: bytes) -> str:
    """How sites and tests tell each other which bytes they have seen."""
    return hashlib.sha256(data).hexdigest()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """data in pieces of that size. As the content of a request they are chunks (RFC 9112 7.1), as
    nobody says how long they are together."""
    return (data[start : start + size] for start in range(0, len(data), size))


def upload_in_chunks(client: httpx.Client, target: str, data: bytes) -> httpx.Response:
    """POSTs a form of one file, "a.bin", as a body without a Content-Length."""
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    body = head + data + b"\r\n--cut--\r\n"
    fields = {"Content-Type": "multipart/form-data; boundary=cut"}
    return client.post(target, content=cut(body, 65_536), headers=fields)


def assert_streams(client: httpx.Client, target: str, gate: Path) -> httpx.Response:
    """GETs target?gate=..., which must send "first", wait at the gate, and then send "second". The
    gate is opened once "first" is here: a server that held it back would never see the end."""
    with client.stream("GET", target, params={"gate": str(gate)}) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        open_gate(gate)
        assert b"".join(pieces) == b"second"
    assert response.status_code == 200
    assert response.headers["Transfer-Encoding"] == "chunked"
    return response


def open_gate(gate: Path) -> None:
    """Lets go who waits in sites.gate.wait_at, or will."""
    with gate.open("wb"):
        pass


def assert_each_gets_its_own(server: Server, ask: Callable[[httpx.Client, str], str]) -> None:
    """Four clients at once, each of which asks 12 times, with a word that must come back."""

    def visit(visitor: int) -> None:
        with http_client(server) as client:
            for turn in range(12):
                word = f"visitor-{visitor}-turn-{turn}"
                assert ask(client, word) == word

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(visit, range(4)):
            pass


def assert_ranges(client: httpx.Client, target: str, ranges: Ranges = RANGES) -> None:
    """target is FILE, whole and in parts (RFC 9110 14)."""
    whole = client.get(target)
    assert (whole.status_code, whole.content) == (200, FILE)
    assert whole.headers["Content-Length"] == str(len(FILE))
    for asked, start, end in ranges:
        part = client.get(target, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, FILE[start:end]), asked
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/300000"
        assert part.headers["Content-Length"] == str(end - start)
    assert client.get(target, headers={"Range": "bytes=300000-"}).status_code == 416


def assert_heads(client: Client, *targets: str) -> None:
    """A HEAD of each target says what a GET does, and has no body (RFC 9110 9.3.2)."""
    for target in targets:
        get = client.get(target, host="testsite")
        head = client.get(target, method="HEAD", host="testsite")
        assert (head.status, head.body) == (get.status, b"")
        assert head.get("Content-Length") == get.get("Content-Length") == str(len(get.body))
    client.expect_nothing_buffered()
