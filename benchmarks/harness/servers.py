"""The servers. A new one is an entry in SERVERS and, if a call of Python starts it, a function in
serve.py."""

from __future__ import annotations

from dataclasses import dataclass

from harness.cases import SUSPENDED


@dataclass(frozen=True)
class Server:
    """How to start a server."""

    name: str
    argv: tuple[str, ...]  # {build}, {here}, {python}, {port}, {app}, {limit}, {conf} are filled in
    packages: tuple[str, ...] = ()  # of PyPI
    target: str = ""  # of meson, if it is built here
    ours: bool = False
    counts: tuple[str, ...] = ()  # more arguments, with which it answers how many bytes it holds
    base: bool = False  # of another checkout


def called(
    name: str, *packages: str, ours: bool = False, runner: str = "", app: str = "{app}"
) -> Server:
    argv = ("{python}", "{here}/serve.py", runner or name, app, "{port}")
    return Server(name, argv, packages, ours=ours)


def built(name: str, *more: str, ours: bool = False, counts: tuple[str, ...] = ()) -> Server:
    argv = ("{build}/benchmarks/" + name, "{port}", *more)
    return Server(name, argv, target=name, ours=ours, counts=counts)


def gunicorn(name: str, *more: str, threads: int = 4, app: str = "{app}") -> Server:
    argv = ("{python}", "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--threads", f"{threads}")
    return Server(name, (*argv, *more, f"apps:{app}"), ("gunicorn==27.0.1",))


def granian(name: str, *more: str) -> Server:
    argv = ("{python}", "-m", "granian", "--interface", "wsgi", "--port", "{port}", *more)
    return Server(name, (*argv, "apps:{app}"), ("granian==2.8.7",))


def base(more: str) -> Server:
    argv = ("{python}", "{here}/serve.py", f"meinheld{more}", "{app}", "{port}")
    return Server(f"base{more}", argv, base=True)


BASES = (base(""), base("_4"), base("_middleware"))

# Threads for a server that gives each waiting request one: all, and some more. Of connections it
# keeps alive those that are beyond its threads.
PLENTY = SUSPENDED + 100

SERVERS = (
    built("limit", "{limit}"),
    built("hello_c", ours=True, counts=("count",)),
    called("meinheld", ours=True),
    called("meinheld_4", ours=True),
    called("meinheld_middleware", ours=True),
    called(
        "meinheld_flask",
        "flask==3.1.3",
        ours=True,
        runner="meinheld_middleware",
        app="suspended_flask",
    ),
    called("meinheld_static", ours=True),
    called("bjoern", "bjoern==3.2.2"),
    called("fastwsgi", "fastwsgi==0.0.9", "setuptools<81"),  # imports pkg_resources, since dropped
    gunicorn("gunicorn"),  # 4 threads make it gthread
    gunicorn("gunicorn_read", "--no-sendfile"),
    gunicorn(
        "gunicorn_threads", "--worker-connections", f"{2 * PLENTY}", threads=PLENTY, app="blocked"
    ),
    called("gevent", "gevent==26.9.0", app="suspended_gevent"),
    called("waitress", "waitress==3.0.2"),
    granian("granian"),
    granian("granian_4", "--blocking-threads", "4"),
    Server("nginx", ("nginx", "-c", "{conf}")),
)
