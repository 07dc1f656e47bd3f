"""A worker's life under a real master: how it begins, is replaced, and ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from harness import wait_until
from master import Master, children_of, takes_signals
from rawclient import Client, CutShort, request

Start = Callable[..., Master]

SITE = "site_app:app"


class Load:
    """Clients that ask again and again, each on a connection that it keeps as long as it may."""

    def __init__(self, master: Master, count: int = 3) -> None:
        self._address = master.address
        self._over = threading.Event()
        self.answers = 0
        self.lost: list[str] = []  # what became of requests without an answer
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                client = Client(self._address)
            except ConnectionRefusedError:
                return  # nobody listens any more
            with client:
                self._ask(client)

    def _ask(self, client: Client) -> None:
        answered = 0
        while not self._over.is_set():
            try:
                response = client.get("/pid")
            except (CutShort, OSError) as exc:
                self.lost.append(f"after {answered} answers: {exc!r}")
                return
            assert response.status == 200
            answered += 1
            self.answers += 1
            if response.closes:
                return

    def wait_for(self, more: int) -> None:
        """Returns when so many more have been answered."""
        before = self.answers
        wait_until(lambda: self.answers >= before + more, f"had {more} answers")

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.each_version
def test_requests_are_answered_by_each_worker_and_a_term_ends_all(start: Start) -> None:
    master = start(SITE, "-w", "2")
    pids = master.wait_for_workers(2)
    seen: set[int] = set()
    while seen != {*pids}:
        seen.add(int(master.get("/pid")))
    master.end(signal.SIGTERM)


def test_a_worker_of_the_entry_point_serves(start: Start, tmp_path: Path) -> None:
    info = tmp_path / "meinheld-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meinheld\nVersion: 2.0.0\n")
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    _, _, rest = text.partition('[project.entry-points."gunicorn.workers"]\n')
    line = rest.partition("\n")[0].replace('"', "")
    (info / "entry_points.txt").write_text(f"[gunicorn.workers]\n{line}\n")
    master = start(SITE, worker="egg:meinheld#gunicorn_worker", path=tmp_path)
    assert int(master.get("/pid")) in master.workers()


@pytest.mark.each_version
def test_a_hup_under_load_replaces_all_workers_and_loses_no_request(start: Start) -> None:
    master = start(SITE, "-w", "2")
    before = master.wait_for_workers(2)
    load = Load(master)
    load.wait_for(100)
    master.signal(signal.SIGHUP)
    master.wait_for_workers(2, without=tuple(before))
    load.wait_for(100)
    load.end()
    assert load.lost == []


def test_a_term_under_load_loses_no_request_that_was_accepted(start: Start) -> None:
    master = start(SITE, "-w", "2")
    load = Load(master)
    load.wait_for(100)
    master.end(signal.SIGTERM)
    load.end()
    # One that the kernel had taken for us, and nobody had accepted, is reset.
    assert [text for text in load.lost if not text.startswith("after 0 answers")] == []


def test_a_worker_that_is_killed_under_load_is_replaced(start: Start) -> None:
    master = start(SITE, "-w", "2")
    first, second = master.wait_for_workers(2)
    load = Load(master)
    load.wait_for(100)
    os.kill(first, signal.SIGKILL)
    master.wait_for_workers(2, without=(first,))
    load.wait_for(100)
    load.end()
    assert len(load.lost) <= 3  # at most what the clients had in hand
    assert second in master.workers()


def test_ttin_and_ttou_change_the_number_of_workers(start: Start) -> None:
    master = start(SITE)
    (first,) = master.wait_for_workers(1)
    master.signal(signal.SIGTTIN)
    master.wait_for_workers(2)
    master.signal(signal.SIGTTOU)
    (last,) = master.wait_for_workers(1)
    assert last != first  # the oldest goes
    assert int(master.get("/pid")) == last


def test_a_usr2_starts_another_master_on_the_same_sockets(start: Start) -> None:
    master = start(SITE, "--pid", "gunicorn.pid")
    (first,) = master.wait_for_workers(1)
    load = Load(master)
    load.wait_for(20)
    master.signal(signal.SIGUSR2)
    pid = Path(f"/proc/{master.pid}/cwd").resolve() / "gunicorn.pid"
    new = pid.with_name("gunicorn.pid.2")
    wait_until(lambda: new.exists() and new.read_text().strip(), "had another master")
    other = int(new.read_text())
    wait_until(lambda: any(map(takes_signals, children_of(other))), "had another worker")
    master.signal(signal.SIGTERM)
    assert master.wait() == 0
    load.wait_for(20)
    load.end()
    assert load.lost == []
    assert int(master.get("/pid")) != first
    os.kill(other, signal.SIGTERM)
    wait_until(lambda: not pid.exists(), "ended the other master")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_a_quit_does_not_wait_for_requests(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    hook = "def worker_int(worker):\n    worker.log.info('interrupted %s', worker.alive)\n"
    master = start(SITE, config=hook)
    begun = tmp_path / "begun"
    with master.connect() as client:
        client.send(request(f"/wait?begun={begun}&until={tmp_path}/never"))
        wait_until(begun.exists, "began")
        master.end(number)
        assert client.read_to_abort() == b""
    assert master.log.count("interrupted False") == 1


def test_a_quit_interrupts_an_application_that_holds_the_loop(start: Start, tmp_path: Path) -> None:
    hook = "def worker_int(worker):\n    worker.log.info('interrupted')\n"
    master = start(SITE, config=hook)
    begun = tmp_path / "begun"
    with master.connect() as client:
        client.send(request(f"/hold?begun={begun}&until={tmp_path}/never"))
        wait_until(begun.exists, "began")
        master.end(signal.SIGQUIT)
        assert client.read_to_abort() == b""
    assert master.log.count("interrupted") == 1


def test_workers_end_when_their_master_has_gone(start: Start) -> None:
    master = start(SITE)
    (worker,) = master.wait_for_workers(1)
    master.get("/pid")
    master.kill()
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "ended")
    assert "Parent changed, shutting down" in master.log
    assert "Worker exiting" in master.log


def test_an_application_that_can_not_be_loaded_is_status_4(start: Start) -> None:
    master = start("site_app:nothing")
    assert master.wait() == 4
    assert "Failed to find attribute 'nothing'" in master.log


def test_a_worker_that_can_not_boot_is_status_3(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text("1 / 0\n")
    master = start("broken_app:app", path=tmp_path, tracebacks=1)
    assert master.wait() == 3


def test_an_application_that_exits_ends_its_worker_alone(start: Start) -> None:
    master = start(SITE)
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        client.send(request("/leave"))
        assert client.read_to_abort() == b""
    master.wait_for_workers(1, without=(worker,))
    assert master.get("/pid")


CHANGING = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"%s"]
"""


def test_a_change_is_reloaded_also_after_a_syntax_error(start: Start, tmp_path: Path) -> None:
    module = tmp_path / "changing_app.py"
    module.write_text(CHANGING % "one")
    env = {"PYTHONDONTWRITEBYTECODE": "1"}  # two changes in a second look alike to the cache
    options = ("--reload", "--reload-engine", "poll")
    master = start("changing_app:app", *options, path=tmp_path, env=env, tracebacks=None)
    assert master.get("/") == b"one"
    for source, status, part in [
        (CHANGING % "two", 200, b"two"),
        ("def app(:\n", 500, b"File"),
        (CHANGING % "three", 200, b"three"),
    ]:
        module.write_text(source)
        answered = partial(is_answered, master, module, status, part)
        wait_until(answered, f"said {part!r}")


def is_answered(master: Master, module: Path, status: int, part: bytes) -> bool:
    """Whether it answers so; else module changes once more, for a reloader that has just begun may
    have seen it like this already."""
    with master.connect() as client:
        response = client.get("/")
    if response.status == status and part in response.body:
        return True
    time = module.stat().st_mtime
    os.utime(module, (time + 2, time + 2))
    return False
