"""The cases: what is done to which servers, what is shown of it, and what ours are to reach.

A new case is an entry in CASES and, if it measures in a way of its own, a function in the table of
measure.py.
"""

from __future__ import annotations

from dataclasses import dataclass

BODY = b"Hello world!"  # what a hello world answers
CONNECTIONS = 100
IDLE_CONNECTIONS = 2000
POLLS = 2000
SUSPENDED = 10_000  # requests that wait at once
AGAINS = 5  # times that they are woken to wait again
CLOSED_REQUESTS = 10_000
FILE_SIZE = 64 * 1024**2
PULLERS = 4  # connections that download
COLD_FILES = 32
PINGS = 500  # a second
POSTED = 1024**2
POSTERS = 8
USERS = 8  # connections of a moderate load

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

# What a script of a page sends to poll; with Host and a cookie of each client's own, 8 fields.
POLL_FIELDS = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"),
    ("Accept", "*/*"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "http://127.0.0.1/chat/room?name=lobby"),
    ("Connection", "keep-alive"),
)


@dataclass(frozen=True)
class Column:
    """A figure of a sample, as it is shown."""

    key: str  # in the sample
    title: str
    digits: int = 0
    compared: bool = False  # its spread and its ratios are shown too; less is better


@dataclass(frozen=True)
class Target:
    """What one of our servers is to reach: its column, as a ratio to the best of a group, or as it
    is."""

    server: str
    column: str
    against: str  # "": no ratio
    most: float


Group = tuple[str, tuple[str, ...]]  # a title, and the servers of which the best is meant


@dataclass(frozen=True)
class Case:
    """What a client does to each server, and what our servers are to reach."""

    name: str
    title: str
    measure: str  # the entry of measure.py's table
    servers: tuple[str, ...]
    columns: tuple[Column, ...]
    app: str = "hello"  # of apps.py
    groups: tuple[Group, ...] = ()
    targets: tuple[Target, ...] = ()
    seconds: int = 1  # of one measurement, at least
    connections: int = CONNECTIONS
    fields: tuple[tuple[str, str], ...] = ()  # sent besides Host
    depth: int = 1  # requests in one write
    posted: int = 0  # bytes of each request's body
    limit: str = "once"  # the mode limit.c is started in
    both_cores: bool = False  # the server may run on its client's core too


CPU = Column("cpu", "CPU us an answer", 2, compared=True)
RATE = Column("rate", "answers/s")
P99 = Column("p99", "p99 ms", 2)
SIZE = Column("size", "bytes")

HELLOS = ("limit", "hello_c", "meinheld", "meinheld_4", "bjoern", "fastwsgi")
TRANSFERS = ("meinheld", "meinheld_4", "bjoern", "gunicorn", "waitress", "granian")
THREADED = ("meinheld_4", "gunicorn", "granian_4", "waitress")
LIMIT: Group = ("limit", ("limit",))
HELLO_GROUPS: tuple[Group, ...] = (LIMIT, ("best peer", ("bjoern", "fastwsgi")))
OURS: Group = ("meinheld", ("meinheld",))


def busy(name: str, where: str, both_cores: bool) -> Case:
    """Beside a thread that never waits, a server that lets go of the interpreter's lock may wait
    5 ms for it; on one core less often, as whoever waits for the lock must get the core too."""
    return Case(
        name,
        f"Hello world, {USERS} connections, beside a thread that runs Python all the time, {where}",
        "busy",
        THREADED,
        (
            Column("p99", "p99 ms", 2, compared=True),
            Column("cpu", "CPU us an answer", 2, compared=True),
            RATE,
        ),
        app="burn",
        groups=(
            ("meinheld_4", ("meinheld_4",)),
            ("best peer", ("gunicorn", "granian_4")),
        ),
        targets=(
            Target("meinheld_4", "p99", "best peer", 1.0),
            Target("meinheld_4", "cpu", "best peer", 1.0),
        ),
        seconds=5,
        connections=USERS,
        both_cores=both_cores,
    )


CASES = (
    Case(
        "hello",
        f"Hello world, kept alive, {CONNECTIONS} connections",
        "wrk",
        HELLOS,
        (CPU, RATE, P99, SIZE),
        groups=HELLO_GROUPS,
        targets=(
            Target("hello_c", "cpu", "limit", 1.15),
            Target("meinheld", "cpu", "best peer", 1.0),
        ),
    ),
    Case(
        "browser",
        "Hello world with 16 browser headers",
        "wrk",
        HELLOS,
        (CPU, RATE, P99, SIZE),
        groups=HELLO_GROUPS,
        fields=BROWSER_FIELDS,
    ),
    Case(
        "closed",
        f"Hello world, closed each time (ab -c {CONNECTIONS} -n {CLOSED_REQUESTS})",
        "ab",
        HELLOS,
        (CPU, RATE, P99, SIZE),
        groups=HELLO_GROUPS,
        limit="close",
    ),
    Case(
        "pipelined",
        "Hello world, 16 pipelined",
        "wrk",
        HELLOS,
        (CPU, RATE, SIZE),
        groups=HELLO_GROUPS,
        depth=16,
        limit="many",
    ),
    Case(
        "idle",
        f"Memory of a kept-alive connection that idles ({IDLE_CONNECTIONS} of them)",
        "idle",
        HELLOS[1:],
        (
            Column("resident", "resident bytes a connection"),
            Column("library", "the library's bytes"),
        ),
    ),
    Case(
        "publish",
        f"{POLLS} requests that wait for a message on a channel, told by one publish",
        "publish",
        ("meinheld",),
        (
            Column("cpu", "CPU us an answer", 2),
            Column("poll", "CPU us a request until it waits", 2),
            Column("last", "ms to the last answer", 1),
        ),
        app="topic",
    ),
    Case(
        "suspended",
        f"{SUSPENDED:,} requests that wait, until one publish wakes all of them",
        "suspended",
        ("meinheld_middleware", "meinheld_flask", "gevent", "gunicorn_threads"),
        (
            Column("resident", "resident bytes a request", compared=True),
            Column("cpu", "CPU us a delivery", 2, compared=True),
            Column("again", "CPU us a resume and suspend", 2),
            Column("last", "ms to the last answer"),
        ),
        app="suspended",
        groups=(("gevent", ("gevent",)),),
        targets=(
            Target("meinheld_middleware", "resident", "", 12 * 1024),
            Target("meinheld_middleware", "resident", "gevent", 1.0),
            Target("meinheld_middleware", "cpu", "gevent", 0.5),
            Target("meinheld_middleware", "again", "", 6),
        ),
        fields=POLL_FIELDS,
    ),
    Case(
        "file",
        f"{FILE_SIZE >> 20} MiB by wsgi.file_wrapper, {PULLERS} connections",
        "file",
        (*TRANSFERS, "gunicorn_read", "meinheld_static", "nginx"),
        (
            Column("cpu_gib", "CPU s a GiB", 3, compared=True),
            Column("rate_mb", "MB/s"),
            Column("p99", "p99 of a file, ms", 1),
        ),
        app="files",
        groups=(
            OURS,
            ("nginx", ("nginx",)),
            ("best that reads", ("waitress", "granian", "gunicorn_read")),
        ),
        targets=(
            Target("meinheld", "cpu_gib", "best that reads", 0.5),
            Target("meinheld", "cpu_gib", "nginx", 1.1),
            Target("meinheld_static", "cpu_gib", "nginx", 1.1),
        ),
        connections=PULLERS,
    ),
    Case(
        "post",
        f"{POSTED >> 20} MiB posted and read, {POSTERS} connections",
        "post",
        ("limit", *TRANSFERS, "fastwsgi"),
        (CPU, RATE, P99),
        app="upload",
        groups=(
            OURS,
            LIMIT,
            ("best peer", ("bjoern", "gunicorn", "waitress", "granian", "fastwsgi")),
        ),
        targets=(Target("meinheld", "cpu", "best peer", 0.6),),
        connections=POSTERS,
        posted=POSTED,
        limit="post",
    ),
    Case(
        "stream",
        f"A stream of 100 pieces of 1 KiB, {CONNECTIONS} connections",
        "stream",
        ("limit", *TRANSFERS, "fastwsgi"),
        (
            CPU,
            RATE,
            P99,
            Column("alone", "alone, ms", 2),
            Column("first", "first piece, ms", 1),
        ),
        app="stream",
        groups=(OURS, LIMIT, ("best that sends at once", ("gunicorn", "waitress", "granian"))),
        targets=(Target("meinheld", "cpu", "best that sends at once", 0.9),),
        limit="stream",
    ),
    Case(
        "slow",
        "Memory while a generator's 10 GiB go to a client that does not keep up",
        "slow",
        TRANSFERS,
        (
            Column("stopped", "MiB more, client stopped after 1 MiB", 1),
            Column("slow", "MiB more, client at 20 MiB/s", 1),
            Column("start", "MiB at first", 1),
        ),
        app="giant",
    ),
    Case(
        "whole",
        "Memory while a generator's 10 GiB go to a client that reads all",
        "whole",
        ("meinheld", "meinheld_4"),
        (
            Column("grown", "MiB more", 1),
            Column("start", "MiB at first", 1),
            Column("cpu_gib", "CPU s a GiB", 3),
            Column("rate_mb", "MB/s"),
        ),
        app="giant",
        connections=1,
    ),
    busy("busy", "server on one core", False),
    busy("busy_2", "server on both cores", True),
    Case(
        "cold",
        f"Hello world, {PINGS} a second, while {COLD_FILES} files are read from disk and sent",
        "cold",
        ("meinheld", "meinheld_4", "bjoern", "gunicorn", "meinheld_static", "nginx"),
        (
            Column("p99", "p99 ms", 2, compared=True),
            Column("p50", "p50 ms", 2),
            Column("max", "max ms", 1),
            Column("cpu_gib", "CPU s a GiB", 3),
            Column("rate_mb", "MB/s"),
        ),
        app="files",
        groups=(OURS, ("nginx", ("nginx",))),
        targets=(
            Target("meinheld", "p99", "nginx", 1.0),
            Target("meinheld_static", "p99", "nginx", 1.0),
        ),
        connections=PULLERS,
    ),
)

DEFAULT = ("hello", "file", "post", "stream")
