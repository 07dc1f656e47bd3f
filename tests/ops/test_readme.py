"""The README, followed as a reader does it: each of its code blocks, in order, from a copy of the
checkout, in a virtual environment that has nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness import HERE, Process, do_without, tool, wait_until
from markdown_it import MarkdownIt

ROOT = HERE.parents[1]
ADDRESS = ("127.0.0.1", 8000)  # the README's
# What a checkout has not.
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", ".build", "build", "__pycache__", ".*_cache", ".hypothesis"
)
CURL = "curl --silent --show-error --max-time 20 "

Spawn = Callable[..., Process]


def read_blocks() -> list[str]:
    """The README's code blocks."""
    tokens = MarkdownIt("commonmark").parse((ROOT / "README.md").read_text())
    assert not [token for token in tokens if token.type == "code_block"], "blocks are fenced"
    return [token.content for token in tokens if token.type == "fence"]


class Reader:
    """Who follows the README: where it is, and what its commands find."""

    def __init__(self, directory: Path, spawn: Spawn) -> None:
        self.checkout = directory / "checkout"
        self._site = directory / "site"
        self._spawn = spawn
        shutil.copytree(ROOT, self.checkout, ignore=IGNORED, symlinks=True)
        venv.create(self._site, with_pip=True)
        own = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
        self.env = {key: value for key, value in os.environ.items() if key not in own}
        self.env |= {
            "PATH": f"{self._site}/bin:{os.environ['PATH']}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PKG_CONFIG_PATH": f"{self._site}/lib/pkgconfig",
            "LD_LIBRARY_PATH": f"{self._site}/lib",
        }

    def run(self, text: str) -> str:
        """Has a shell run a block to its end; returns what it prints."""
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=self.checkout,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def read_file(self, name: str, text: str) -> None:
        """Writes down a program."""
        (self.checkout / name).write_text(text)

    @contextmanager
    def serving(self, text: str, cwd: Path | None = None) -> Iterator[None]:
        """A command that serves at the README's address, until it is stopped by Ctrl-C, which
        reaches all its processes."""
        argv = ["setsid", "bash", "-euc", f"exec {text}"]
        env = {**dict.fromkeys(os.environ.keys() - self.env.keys(), ""), **self.env}
        process = self._spawn(argv, cwd=cwd or self.checkout, env=env)
        try:
            process.wait_for_port(ADDRESS[1])
            yield
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def two_requests(reader: Reader, block: str) -> None:
    """The first waits for the second, which is said until the first has been there to hear it."""
    first, second = block.replace("curl ", CURL).splitlines()
    waiting = subprocess.Popen(
        ["bash", "-euc", first.removesuffix("&")], stdout=subprocess.PIPE, text=True
    )
    try:

        def is_heard() -> bool:
            assert reader.run(second) == "hello\n"
            return waiting.poll() is not None

        wait_until(is_heard, "heard")
    finally:
        waiting.kill()
        said, _ = waiting.communicate()
    assert said == "hello\n"


@pytest.mark.timeout(600)
def test_every_block_of_the_readme_does_what_it_says(tmp_path: Path, spawn: Spawn) -> None:
    for name in ("curl", "make", "cc", "pkg-config", "setsid"):
        tool(name)
    with socket.socket() as probe:
        if probe.connect_ex(ADDRESS) == 0:
            do_without("something listens on port 8000 already")
    blocks = iter(read_blocks())
    reader = Reader(tmp_path, spawn)
    ask = CURL + "http://127.0.0.1:8000/"

    # make test is what runs other tests; make serve does the same set-up.
    serve, test = next(blocks).splitlines()
    assert (serve, test) == ("make serve", "make test")
    reader.run("make --dry-run serve test")
    with reader.serving(serve, cwd=ROOT):
        assert reader.run(ask) == "Hello world!"

    install = next(blocks)
    assert install == "pip install .\n"
    reader.run(install)

    reader.read_file("wait.py", next(blocks))
    with reader.serving("python wait.py"):
        two_requests(reader, next(blocks))

    original = next(blocks)
    assert "0.0.0.0" in original
    reader.read_file("hello.py", original.replace("0.0.0.0", "127.0.0.1"))  # loopback alone
    with reader.serving("python hello.py"):
        assert reader.run(ask) == "Hello world!"

    with reader.serving(next(blocks)):
        assert reader.run(ask) == "Hello world!"

    install, gunicorn = next(blocks).splitlines()
    reader.run(install)
    with reader.serving(gunicorn):
        assert reader.run(ask) == "Hello world!"

    setup, install, compile, serve = next(blocks).splitlines()
    reader.run("pip install meson ninja")
    reader.run(f"{setup} --prefix={tmp_path / 'site'} --libdir=lib")
    reader.run(install)
    reader.run(compile)
    with reader.serving(serve):
        assert reader.run(ask + "file") == (ROOT / "README.md").read_text()

    assert list(blocks) == []
