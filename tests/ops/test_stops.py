"""What makes a worker stop, and what becomes of its requests then: the master's watch, the drain,
max_requests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import wait_until
from master import Master
from rawclient import Client, request

Start = Callable[..., Master]

SITE = "site_app:app"


def begin(client: Client, path: str, tmp_path: Path, until: str = "until") -> Path:
    """Sends a request that waits until a file is there, which is returned, once it has begun."""
    begun = tmp_path / f"begun-{path.strip('/')}"
    client.send(request(f"{path}?begun={begun}&until={tmp_path / until}"))
    wait_until(begun.exists, "began")
    return tmp_path / until


# ---- the master's watch


@pytest.mark.each_version
def test_a_worker_that_hangs_is_aborted_and_replaced(start: Start, tmp_path: Path) -> None:
    hook = "def worker_abort(worker):\n    worker.log.info('aborted %s', worker.alive)\n"
    master = start(SITE, "--timeout", "1", config=hook)
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        begin(client, "/hold", tmp_path)
        assert client.read_to_abort() == b""
    master.wait_for_workers(1, without=(worker,))
    assert f"WORKER TIMEOUT (pid:{worker})" in master.log
    assert master.log.count("aborted False") == 1
    assert master.get("/pid")


def test_an_idle_worker_is_watched_too(start: Start) -> None:
    master = start(SITE, "--timeout", "1")
    (worker,) = master.wait_for_workers(1)
    master.get("/pid")
    os.kill(worker, signal.SIGSTOP)
    master.wait_for_workers(1, without=(worker,))
    assert f"WORKER TIMEOUT (pid:{worker})" in master.log


def test_a_worker_that_only_waits_is_left_alone(start: Start, tmp_path: Path) -> None:
    master = start(SITE, "--timeout", "1")
    (worker,) = master.wait_for_workers(1)
    # The temporary file's time is that of its last sign of life.
    fd = next(fd for fd in Path(f"/proc/{worker}/fd").iterdir() if "wgunicorn" in os.readlink(fd))
    with master.connect() as client:
        until = begin(client, "/wait", tmp_path)
        first = fd.stat().st_mtime
        wait_until(lambda: fd.stat().st_mtime > first + 2, "went on")
        until.touch()
        assert client.read_response().body == b"waited"
    assert master.workers() == [worker]


# ---- the drain


def test_a_request_under_way_is_answered_with_close(start: Start, tmp_path: Path) -> None:
    master = start(SITE, "--timeout", "1")  # which the drain outlasts
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client, master.connect() as idle:
        idle.get("/pid")
        until = begin(client, "/wait", tmp_path)
        master.signal(signal.SIGHUP)
        wait_until(lambda: not master.shares_sockets(worker), "began to drain")
        assert int(master.get("/pid")) != worker
        idle.expect_close()  # after two seconds
        until.touch()
        response = client.read_response()
        assert (response.body, response.get("Connection")) == (b"waited", "close")
    master.wait_for_workers(1, without=(worker,))
    assert "WORKER TIMEOUT" not in master.log
    assert "graceful timeout" not in master.log


def test_a_kept_connection_has_its_next_request_answered(start: Start) -> None:
    master = start(SITE)
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        assert int(client.get("/pid").body) == worker
        master.signal(signal.SIGHUP)
        wait_until(lambda: not master.shares_sockets(worker), "began to drain")
        response = client.get("/pid")
        assert (int(response.body), response.get("Connection")) == (worker, "close")


def test_a_suspended_request_is_told_when_the_drain_begins(start: Start, tmp_path: Path) -> None:
    master = start(SITE)
    with master.connect() as client:
        begin(client, "/suspend", tmp_path)
        master.signal(signal.SIGTERM)
        assert client.read_response().body == b"stopping"
    assert master.wait() == 0


@pytest.mark.each_version
def test_who_goes_on_after_graceful_timeout_is_cut_off(start: Start, tmp_path: Path) -> None:
    master = start(SITE, "--graceful-timeout", "1")
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        begin(client, "/stubborn", tmp_path)
        master.signal(signal.SIGHUP)
        assert client.read_to_abort() == b""
    master.wait_for_workers(1, without=(worker,))
    assert f"Worker graceful timeout (pid:{worker})" in master.log


def test_threads_that_go_on_after_it_are_left_behind(start: Start, tmp_path: Path) -> None:
    master = start(SITE, "--graceful-timeout", "1", "--threads", "2")
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        begin(client, "/hold", tmp_path, "never")
        master.signal(signal.SIGHUP)
        assert client.read_to_abort() == b""
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "ended")


# ---- max_requests


@pytest.mark.each_version
def test_a_worker_is_replaced_after_max_requests(start: Start) -> None:
    master = start(SITE, "--max-requests", "5")
    (worker,) = master.wait_for_workers(1)
    assert [int(master.get("/pid")) for _ in range(5)] == [worker] * 5
    (other,) = master.wait_for_workers(1, without=(worker,))
    assert "Autorestarting worker after current request." in master.log
    assert int(master.get("/pid")) == other


def test_jitter_adds_to_max_requests(start: Start) -> None:
    hook = (
        "def post_worker_init(worker):\n    worker.log.info('ends after %d', worker.max_requests)\n"
    )
    master = start(SITE, "--max-requests", "3", "--max-requests-jitter", "4", config=hook)
    (worker,) = master.wait_for_workers(1)
    master.wait_for_log("ends after")
    most = int(master.log.split("ends after ")[1].split()[0])
    assert 3 <= most <= 7
    assert [int(master.get("/pid")) for _ in range(most)] == [worker] * most
    master.wait_for_workers(1, without=(worker,))


def test_a_request_that_waits_counts_when_it_ends(start: Start, tmp_path: Path) -> None:
    master = start(SITE, "--max-requests", "2")
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        until = begin(client, "/wait", tmp_path)
        assert int(master.get("/pid")) == worker
        until.touch()
        assert client.read_response().body == b"waited"
    master.wait_for_workers(1, without=(worker,))
