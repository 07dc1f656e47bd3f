"""What is needed before anything can be measured, all in .build/bench of the checkout: a virtual
environment with the peers and the project, a release build of the library, of the C servers and of
the clients, and the files that are downloaded."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cases import COLD_FILES, FILE_SIZE, Case
from harness.servers import Server

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".build" / "bench"
BUILD = WORK / "build"
FILES = WORK / "files"
BASE = WORK / "base"  # the package of another checkout
TOOLS = ("meson", "ninja")
CLIENTS = ("pull", "ping")
SOURCES = ("VERSION", "meson.build", "meson.options", "pyproject.toml", "libmeinheld", "bindings")


def make_work_folder() -> None:
    WORK.mkdir(parents=True, exist_ok=True)


def run_logged(log: str, *argv: str | Path) -> None:
    """Runs argv; what it prints goes to LOG.log there, and is shown if it fails."""
    print(f"benchmarks: {log}", file=sys.stderr)
    path = WORK / f"{log}.log"
    with path.open("wb") as out:
        done = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.stderr.write(path.read_text(errors="replace"))
        sys.exit(f"benchmarks: {log} failed")


def ask_python(python: Path, expression: str) -> str:
    script = f"import ensurepip, platform, sys, sysconfig; print({expression})"
    try:
        return subprocess.check_output([python, "-c", script], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"benchmarks: {python} is no Python with venv; apt-get install -y python3-venv")


def python_name(python: Path) -> str:
    """As "CPython 3.13.0"."""
    names = "platform.python_implementation(), platform.python_version()"
    return ask_python(python, names)


def has_header(name: str, *flags: str) -> bool:
    argv = ["cc", *flags, "-E", "-include", name, "-x", "c", os.devnull]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def check_machine(python: Path, servers: Sequence[Server]) -> None:
    """Ends with the one apt line to run if something is missing that PyPI can't bring."""
    packages = {"wrk": "wrk", "ab": "apache2-utils", "cc": "gcc libc6-dev"}
    if any(server.name == "nginx" for server in servers):
        packages["nginx"] = "nginx-light"
    missing = [package for tool, package in packages.items() if shutil.which(tool) is None]
    include = ask_python(python, "sysconfig.get_path('include')")
    if shutil.which("cc"):
        missing += [] if has_header("ev.h") else ["libev-dev"]
        missing += [] if has_header("Python.h", f"-I{include}") else ["python3-dev"]
    if missing:
        sys.exit(f"benchmarks: something is missing; apt-get install -y {' '.join(missing)}")


def fingerprint(checkout: Path) -> str:
    """A hash of the files of which the package is made."""
    digest = hashlib.sha256()
    for top in (checkout / name for name in SOURCES):
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(checkout)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def install(log: str, python: Path, key: str, *what: str | Path) -> None:
    """pip install, unless it was done before with the same key."""
    stamp = WORK / f"{log}.stamp"
    if stamp.exists() and stamp.read_text() == key:
        return
    run_logged(log, python, "-m", "pip", "install", *what)
    stamp.write_text(key)


def make_venv(python: Path, servers: Sequence[Server]) -> Path:
    """The virtual environment of python with what the servers need; returns the python in it."""
    venv = f"venv-{python_name(python).replace(' ', '-')}"
    inside = WORK / venv / "bin" / "python"
    if not inside.exists():
        run_logged(venv, python, "-m", "venv", WORK / venv)
    packages = sorted({*TOOLS, *(p for server in servers for p in server.packages)})
    install(f"{venv}-peers", inside, " ".join(packages), *packages)
    if any(server.ours and not server.target for server in servers):
        install(f"{venv}-meinheld", inside, fingerprint(ROOT), ROOT)
    return inside


def install_base(python: Path, checkout: Path) -> None:
    """Puts the package of another checkout where only the base servers find it."""
    key = f"{python} {fingerprint(checkout)}"
    install("base", python, key, "--no-deps", "--upgrade", "--target", BASE, checkout)


def build_c(python: Path, servers: Sequence[Server]) -> None:
    """Builds those of the servers that are written in C, and the clients."""
    targets = [*CLIENTS, *(server.target for server in servers if server.target)]
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # meson looks for ninja
    if not (BUILD / "build.ninja").exists():
        release = ["--buildtype=release", "-Db_ndebug=if-release"]
        options = ["-Dbenchmarks=true", "-Dtests=false", "-Dexamples=false", "-Dpython=disabled"]
        run_logged("meson-setup", "meson", "setup", *release, *options, BUILD, ROOT)
    run_logged("meson-compile", "meson", "compile", "-C", BUILD, *targets)


def make_files(cases: Sequence[Case]) -> None:
    """The files that are downloaded, of random bytes: one, or as many as are read from disk."""
    count = COLD_FILES if any(case.measure == "cold" for case in cases) else 1
    FILES.mkdir(exist_ok=True)
    for number in range(count):
        path = FILES / str(number)
        if not path.exists() or path.stat().st_size != FILE_SIZE:
            path.write_bytes(random.Random(number).randbytes(FILE_SIZE))
