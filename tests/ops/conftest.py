"""Fixtures of the tests with gunicorn: a master of each release."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import count_tracebacks
from master import NEWEST, OLDEST, VERSIONS, Master


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test runs with the newest release and the oldest, and with each if it is marked so."""
    if "version" in metafunc.fixturenames:
        each = metafunc.definition.get_closest_marker("each_version")
        metafunc.parametrize("version", VERSIONS if each else (OLDEST, NEWEST))


@pytest.fixture
def start(version: str, tmp_path: Path) -> Iterator[Callable[..., Master]]:
    """start("site_app:app", *arguments, **options) -> Master, with the options of Master and
    tracebacks: how many are to be in its log, None for any number. It has to end well by SIGTERM,
    if it has not ended before."""
    masters: list[tuple[Master, int | None]] = []

    def begin(app: str, *arguments: str, tracebacks: int | None = 0, **options: object) -> Master:
        directory = tmp_path / f"master{len(masters) + 1}"
        master = Master(version, app, directory, *arguments, **options)  # type: ignore[arg-type]
        masters.append((master, tracebacks))
        return master

    try:
        yield begin
        for master, tracebacks in masters:
            if master.popen.poll() is None:
                master.end(signal.SIGTERM)
            if tracebacks is not None:
                assert count_tracebacks(master.log) == tracebacks, master.log
    finally:
        for master, _ in masters:
            master.kill()
