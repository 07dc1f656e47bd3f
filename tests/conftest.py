"""What all Python tests share: a time limit, and fixtures by which each test starts its own
servers, which are ended and checked when it is over."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Process, Server, serving

# A server that hangs must fail its test, not the whole run.
TIME_LIMIT = 60


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test a hard limit that does not rest on how pytest was called, unless it has
    one."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """serve("apps.hello:app", **options) -> Server; the options are those of harness.serving."""
    with ExitStack() as stack:
        count = 0

        def start(app: str, **options: object) -> Server:
            nonlocal count
            count += 1
            directory = tmp_path / f"server{count}"
            return stack.enter_context(serving(app, directory, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """spawn(argv, **options) -> Process; killed at the end of the test if it still runs."""
    processes: list[Process] = []

    def start(argv: list[str], **options: object) -> Process:
        directory = tmp_path / f"process{len(processes) + 1}"
        processes.append(Process(argv, directory, **options))  # type: ignore[arg-type]
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def unix_path() -> Iterator[str]:
    """Where a unix socket may be made: tmp_path can be longer than unix(7) takes."""
    with tempfile.TemporaryDirectory(prefix="mh-") as directory:
        yield f"{directory}/socket"
