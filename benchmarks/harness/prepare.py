"""What is needed before anything can be measured, all in .build/bench of the checkout: a virtual
environment with the peers and the project, a release build of the library and of the C servers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cases import Server

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".build" / "bench"
BUILD = WORK / "build"
TOOLS = ("meson", "ninja")
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


def check_machine(python: Path) -> None:
    """Ends with the one apt line to run if something is missing that PyPI can't bring."""
    packages = {"wrk": "wrk", "ab": "apache2-utils", "cc": "gcc libc6-dev"}
    missing = [package for tool, package in packages.items() if shutil.which(tool) is None]
    include = ask_python(python, "sysconfig.get_path('include')")
    if shutil.which("cc"):
        missing += [] if has_header("ev.h") else ["libev-dev"]
        missing += [] if has_header("Python.h", f"-I{include}") else ["python3-dev"]
    if missing:
        sys.exit(f"benchmarks: something is missing; apt-get install -y {' '.join(missing)}")


def fingerprint(paths: Sequence[Path]) -> str:
    """A hash of the files at and below paths."""
    digest = hashlib.sha256()
    for top in paths:
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
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
    if any(server.ours and server.kind == "python" for server in servers):
        install(f"{venv}-meinheld", inside, fingerprint([ROOT / s for s in SOURCES]), ROOT)
    return inside


def build_c(python: Path, servers: Sequence[Server]) -> None:
    """Builds those of the servers that are written in C."""
    targets = [server.name for server in servers if server.kind != "python"]
    if not targets:
        return
    os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # meson looks for ninja
    if not (BUILD / "build.ninja").exists():
        release = ["--buildtype=release", "-Db_ndebug=if-release"]
        options = ["-Dbenchmarks=true", "-Dtests=false", "-Dexamples=false", "-Dpython=disabled"]
        run_logged("meson-setup", "meson", "setup", *release, *options, BUILD, ROOT)
    run_logged("meson-compile", "meson", "compile", "-C", BUILD, *targets)
