"""What all Python tests share: a time limit, and fixtures by which each test starts its own
servers, which are ended and checked when it is over."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from commandline import HELLO
from harness import EXAMPLES, Process, Server, serving, wait_until
from postgres import Postgres

# Where pytest finds CI set it shows whole comparisons, and those of two bodies of megabytes take
# all the memory that there is. So tests ask for another name (harness.py), in its workers too.
if os.environ.get("CI"):
    os.environ["TESTS_IN_CI"] = os.environ.pop("CI")

# A server that hangs must fail its test, not the whole run.
TIME_LIMIT = 60


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test a hard limit that does not rest on how pytest was called, unless it has
    one."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))


# Whose tests run twice: an application must not notice who calls it.
TWICE = {
    "test_access_log",
    "test_addresses",
    "test_bodies",
    "test_close",
    "test_continuation",
    "test_environ",
    "test_errors",
    "test_events",
    "test_files",
    "test_forwarded",
    "test_handshake",
    "test_hello",
    "test_http_clients",
    "test_input",
    "test_limits",
    "test_lint",
    "test_locals",
    "test_misuse",
    "test_offload",
    "test_msocket",
    "test_proxy_protocol",
    "test_response_heads",
    "test_responses",
    "test_starts",
    "test_sync_served",
    "test_streams",
    "test_tasks",
    "test_websocket",
    "test_websocket_ends",
    "test_wsgi",
    "test_wsgi_errors",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--once", action="store_true", help="nothing runs twice, in threads as well")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs those tests in the loop's thread, and in a pool of threads. One that is marked in_loop
    tells why it can't hold in the second."""
    if "serve" in metafunc.fixturenames and metafunc.module.__name__ in TWICE:
        once = metafunc.config.getoption("once")
        if once or metafunc.definition.get_closest_marker("in_loop"):
            return
        metafunc.parametrize("threads", (0, 8), ids=("inline", "threads"), indirect=True)


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int:
    """How many threads run the applications of this test; 0: none, the loop does."""
    return getattr(request, "param", 0)


@pytest.fixture
def serve(tmp_path: Path, threads: int) -> Iterator[Callable[..., Server]]:
    """serve("apps.hello:app", **options) -> Server; the options are those of harness.serving."""
    with ExitStack() as stack:
        count = 0

        def start(app: str, **options: object) -> Server:
            nonlocal count
            count += 1
            directory = tmp_path / f"server{count}"
            options.setdefault("threads", threads)
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a module `site_app` in it, for the command line."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "site_app.py").write_text(HELLO)
    return path


@pytest.fixture
def run_example(
    spawn: Callable[..., Process],
) -> Iterator[Callable[..., tuple[Process, tuple[str, int]]]]:
    """run_example("hello.py", ...) starts an example at a port of the kernel's choice, with more
    arguments, and returns it with its address; at the end SIGTERM has to end it, and nothing is to
    be in its log."""
    processes: list[Process] = []

    def start(name: str, *args: str) -> tuple[Process, tuple[str, int]]:
        # What frameworks are warned of by newer Pythons is theirs.
        argv = [sys.executable, "-W", "ignore", str(EXAMPLES / name), "0", *args]
        process = spawn(argv)
        processes.append(process)
        wait_until(lambda: "\n" in process.out or process.popen.poll() is not None, "listened")
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", process.out)
        assert match, process.log
        return process, ("127.0.0.1", int(match[1]))

    yield start
    for process in processes:
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.log == ""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database server."""
    server = Postgres()
    yield server
    server.stop()
