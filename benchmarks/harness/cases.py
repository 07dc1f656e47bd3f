"""The tables: which servers there are, and what is done to them.

A new workload is an entry in WORKLOADS. A new server is one in SERVERS and, if it runs Python, a
function in hello_wsgi.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BODY = b"Hello world!"  # what every server answers
CONNECTIONS = 100
IDLE_CONNECTIONS = 2000
CLOSED_REQUESTS = 10_000

# What a desktop browser sends when a page is loaded; with Host, which the client adds, 16 fields.
BROWSER_FIELDS = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("DNT", "1"),
    ("Referer", "http://127.0.0.1/catalogue/items?page=3&sort=name"),
    ("Upgrade-Insecure-Requests", "1"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark; consent=1"),
)


@dataclass(frozen=True)
class Server:
    """How to start a server."""

    name: str
    kind: str  # "limit", "c" or "python": decides what its figures are compared with
    argv: tuple[str, ...]  # {build}, {here}, {python}, {port} and {limit} are filled in
    packages: tuple[str, ...] = ()  # of PyPI
    ours: bool = False
    counts: tuple[str, ...] = ()  # more arguments, with which it answers how many bytes it holds


@dataclass(frozen=True)
class Workload:
    """What a client does to each server, and what our servers are to reach."""

    name: str
    title: str
    client: str  # "wrk", "ab" or "idle": the function of measure.py
    fields: tuple[tuple[str, str], ...] = ()  # sent besides Host
    depth: int = 1  # requests in one write
    limit: str = "once"  # the mode limit.c is started in
    kinds: tuple[str, ...] = ("limit", "c", "python")
    targets: dict[str, tuple[str, float]] = field(default_factory=dict)  # server: (against, ratio)


def wsgi(name: str, *packages: str, ours: bool = False) -> Server:
    argv = ("{python}", "{here}/hello_wsgi.py", name, "{port}")
    return Server(name, "python", argv, packages, ours)


SERVERS = (
    Server("limit", "limit", ("{build}/benchmarks/limit", "{port}", "{limit}")),
    Server("hello_c", "c", ("{build}/benchmarks/hello_c", "{port}"), ours=True, counts=("count",)),
    wsgi("meinheld", ours=True),
    wsgi("bjoern", "bjoern==3.2.2"),
    wsgi("fastwsgi", "fastwsgi==0.0.9", "setuptools<81"),  # imports pkg_resources, since dropped
)

WORKLOADS = (
    Workload(
        "hello",
        f"Hello world, kept alive, {CONNECTIONS} connections",
        "wrk",
        targets={"hello_c": ("limit", 1.15), "meinheld": ("best peer", 1.0)},
    ),
    Workload("browser", "Hello world with 16 browser headers", "wrk", BROWSER_FIELDS),
    Workload(
        "closed",
        f"Hello world, closed each time (ab -c {CONNECTIONS} -n {CLOSED_REQUESTS})",
        "ab",
        limit="close",
    ),
    Workload("pipelined", "Hello world, 16 pipelined", "wrk", depth=16, limit="many"),
    Workload(
        "idle",
        f"Memory of a kept-alive connection that idles ({IDLE_CONNECTIONS} of them)",
        "idle",
        kinds=("c", "python"),
    ),
)
