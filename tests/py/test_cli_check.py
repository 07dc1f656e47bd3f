"""--check and --print-config: what is served with, without serving."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from commandline import MEINHELD, refusal, without
from meinheld._checkup import findings
from meinheld._configuration import configure, flag_parser

# Of which no machine has too little.
FEW = ["--max-connections", "10", "--backlog", "1"]


def check(folder: Path, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """Exit status and lines of --check."""
    done = subprocess.run(
        [*MEINHELD, "--check", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_where_nothing_is_to_mend_it_says_so(folder: Path) -> None:
    assert check(folder, "site_app", *FEW) == (0, ["nothing to mend"])


def test_it_serves_nothing_and_leaves_no_socket(folder: Path) -> None:
    assert check(folder, "site_app", *FEW, "--bind", "unix:socket")[0] == 0
    assert not (folder / "socket").exists()


def test_bad_settings_are_all_told(folder: Path) -> None:
    status, lines = check(folder, "site_app", "--threads", "x", "--backlog", "0")
    assert status == 1
    assert [line.split(":")[0] for line in lines] == ["--backlog '0'", "--threads 'x'"]


def test_an_app_that_can_not_be_had_is_told(folder: Path) -> None:
    assert check(folder, "nowhere:app", *FEW) == (
        1,
        ["cannot import 'nowhere': there is no module 'nowhere'"],
    )
    status, lines = check(folder, *FEW)
    assert status == 1 and lines[0].startswith("there is no application: ")


def test_a_directory_and_a_log_that_are_not_there_are_told(folder: Path) -> None:
    assert check(folder, "site_app", *FEW, "--static", "/a=nowhere") == (
        1,
        ["--static '/a=nowhere': No such file or directory"],
    )
    assert check(folder, "site_app", *FEW, "--access-log", "no/log") == (
        1,
        ["--access-log 'no/log': No such file or directory"],
    )


def test_a_variable_that_is_misspelt_is_told(folder: Path) -> None:
    assert check(folder, "site_app", *FEW, MEINHELD_THREDS="4") == (
        1,
        ["MEINHELD_THREDS is no setting: is MEINHELD_THREADS meant?"],
    )


def test_more_connections_than_open_files_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (1024, 4096)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.syspath_prepend(str(folder))
    for most, told in [(960, 0), (961, 1)]:
        flags = ["site_app", "--max-connections", str(most), "--backlog", "1"]
        lines = list(findings(configure(flag_parser("1").parse_args(flags), {}), {}))
        assert len(lines) == told
    assert lines[0].startswith(
        "max_connections is 961, but this process may have 1024 open files (ulimit -n, which may "
        "be 4096): "
    )
    assert lines[0].endswith("or set max_connections to 960 at the most")


def test_a_backlog_above_the_kernels_is_told_unless_others_listen(folder: Path) -> None:
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    few = ["--max-connections", "10"]
    assert check(folder, "site_app", *few, "--backlog", str(most))[0] == 0
    status, lines = check(folder, "site_app", *few, "--backlog", str(most + 1))
    assert status == 1
    assert lines[0].startswith(f"backlog is {most + 1}, but the kernel's limit is {most}: ")
    handed = ["--bind", "fd://systemd"]
    assert check(folder, "site_app", *few, "--backlog", str(most + 1), *handed)[0] == 0


def test_what_workers_take_is_looked_for(folder: Path) -> None:
    done = subprocess.run(
        [*without("gunicorn"), "--check", "site_app", *FEW, "--workers", "2"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (
        1,
        [
            "--workers takes gunicorn, which is not installed: pip install 'meinheld[gunicorn]'",
        ],
    )


def test_print_config_prints_a_file_that_is_taken(folder: Path) -> None:
    printed = subprocess.run(
        [*MEINHELD, "site_app", "--print-config", *FEW],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert printed.stderr == ""
    assert 'app = "site_app"  # MODULE:APP\n' in printed.stdout
    (folder / "site.toml").write_text(printed.stdout)
    assert check(folder, "--config", "site.toml") == (0, ["nothing to mend"])


@pytest.mark.parametrize("flag", ["--print-config", "--check"])
def test_output_that_can_not_be_written_is_one_line_and_status_1(folder: Path, flag: str) -> None:
    for redirection, reason in [(">/dev/full", "No space left"), (">&-", "it is closed")]:
        command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *MEINHELD, "site_app", flag]
        line = refusal(command, folder)
        assert line.startswith("meinheld: cannot write to standard output: ") and reason in line


def test_print_config_of_bad_settings_is_one_line_and_status_2(folder: Path) -> None:
    line = refusal([*MEINHELD, "--print-config", "--threads", "x"], folder, 2)
    assert line == "meinheld: --threads 'x': not an integer from 0 to 4096\n"
