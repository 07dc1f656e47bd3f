"""Sites made with frameworks: one server for all tests of a file, and clients of it.

A file of tests names its site by a fixture `server` of module scope, made by serve_site."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from harness import Server, serving
from rawclient import Client
from visitor import FILE, http_client, site_environment

# Dash stands on pydantic, which has no release for PyPy 3.9, and psycopg there on a ctypes that
# takes weak references to what has none.
_WITHOUT_PYPY = ["test_dash.py", "test_transactions.py"]
collect_ignore = _WITHOUT_PYPY if sys.implementation.name == "pypy" else []

# The ways in which a server runs an application, as settings: each test of a site runs in each.
MODES: dict[str, dict[str, int]] = {"loop": {}, "threads": {"threads": 4}}


@pytest.fixture(scope="session", params=list(MODES.values()), ids=list(MODES))
def mode(request: pytest.FixtureRequest) -> dict[str, int]:
    """One of MODES."""
    settings: dict[str, int] = request.param
    return settings


@contextmanager
def site_starter(
    factory: pytest.TempPathFactory, mode: dict[str, int]
) -> Iterator[Callable[..., Server]]:
    """A function that starts servers of sites, which are ended and checked after the block."""
    with ExitStack() as stack:

        def start(app: str, *, env: dict[str, str] | None = None, **options: object) -> Server:
            env = site_environment(**(env or {}))
            options = {**mode, **options}
            directory = factory.mktemp("site")
            return stack.enter_context(serving(app, directory, env=env, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a site that has files: SITE_FILES is a directory with large.bin in it."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "large.bin").write_bytes(FILE)
    return {"SITE_FILES": str(directory)}


@pytest.fixture(scope="module")
def serve_site(
    tmp_path_factory: pytest.TempPathFactory, mode: dict[str, int]
) -> Iterator[Callable[..., Server]]:
    """serve_site("sites.flask_site:app", env={...}) -> Server, until the file's last test."""
    with site_starter(tmp_path_factory, mode) as start:
        yield start


@pytest.fixture
def serve_alone(
    tmp_path_factory: pytest.TempPathFactory, mode: dict[str, int]
) -> Iterator[Callable[..., Server]]:
    """The same for one test, which may say how many tracebacks it leaves in the log."""
    with site_starter(tmp_path_factory, mode) as start:
        yield start


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of the file's server, which keeps cookies and follows no redirects."""
    with http_client(server) as client:
        yield client


@pytest.fixture
def raw(server: Server) -> Iterator[Client]:
    """A connection to the file's server, for requests of given bytes."""
    with server.connect() as client:
        yield client


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A FIFO: who reads it waits until somebody opens it to write (fifo(7))."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path
