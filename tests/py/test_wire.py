"""What comes over the wire, good and bad: every case of tests/wire, in every delivery. And that the
cases are all there, and well-formed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path

import pytest
from harness import HERE, Server, count_tracebacks, serving
from wire import (
    RUNNERS,
    Case,
    CaseError,
    Input,
    Recorder,
    Subject,
    deliveries,
    read_subject,
    read_subjects,
)

TESTS = HERE.parent
POLICY = (TESTS.parent / "docs" / "http.md").read_text(encoding="utf-8")
SUBJECTS = read_subjects()
ALL = [
    pytest.param(subject, case, id=f"{subject.name}-{case.name}")
    for subject in SUBJECTS
    for case in subject.cases
    if RUNNERS[subject.runner] is not None
]
# Those in which it matters whether the application is called before the body is there.
BODIES = [
    param
    for param in ALL
    if re.match("bodies|chunk|content_length|early_end|expect|trailers", str(param.id))
]
UNIX, TCP = 0, 1  # the listeners of each server
# What mh_config has in milliseconds, and set_limits() in seconds.
TIME = re.compile(r".*_timeout|rate_window|rate_grace|linger_time")
PROXY_MODES = ["off", "v1", "v2", "auto"]  # by MH_PROXY_*


# ---- the cases


# Static files, by the README.
FILES = {
    "a.txt": "0123456789",
    "empty.txt": "",
    "timeless.txt": "timeless",
    "p.css": "plain",
    "p.css.br": "brotli",
    "p.css.gz": "gzipped",
    "old.css": "plain",
    "old.css.gz": "older",
    "dir/index.html": "index",
    "bare/a.txt": "bare",
    ".well-known/x": "known",
    "dir/.well-known/x": "secret",
    ".env": "secret",
}
LINKS = {"in": "a.txt", "out": "../../etc/passwd", "absolute": "/etc/passwd"}
LONG_AGO = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
TIMES = {"timeless.txt": 0, "old.css.gz": LONG_AGO - 1}


def plant_files(root: Path) -> Path:
    """Makes them, in a directory root."""
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
        os.utime(path, (TIMES.get(name, LONG_AGO),) * 2)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    return root


def start_server(
    settings: dict[str, int],
    more: dict[str, int],
    sockets: str,
    log: Path,
    stack: ExitStack,
) -> Server:
    limits = {
        name: number / 1000 if TIME.fullmatch(name) else number for name, number in settings.items()
    }
    mode = PROXY_MODES[int(limits.pop("proxy_protocol", 0))]
    # A unix socket tells the client when the server has read what was sent (unix(7), SIOCOUTQ).
    unix, tcp = f"{sockets}/socket", ("127.0.0.1", 0)
    files = plant_files(log / "static")
    return stack.enter_context(
        serving(
            "apps.wire_host:app",
            log,
            address=unix,
            more=(tcp,),
            limits=limits,
            statics={"/static": {"directory": str(files)}},
            proxy_protocol=mode,
            **more,  # type: ignore[arg-type]
        )
    )


@pytest.fixture(scope="module")
def server_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """One server for each set of settings: to start one takes longer than most cases."""
    servers: dict[object, Server] = {}
    with ExitStack() as stack:

        def find_or_start(settings: dict[str, int], **more: int) -> Server:
            key = frozenset(settings.items()), frozenset(more.items())
            if key not in servers:
                sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="mh-"))
                log = tmp_path_factory.mktemp("wire")
                servers[key] = start_server(settings, more, sockets, log, stack)
            return servers[key]

        yield find_or_start


def failures(
    subject: Subject, case: Case, server: Server, most: int | None = None
) -> Iterator[str]:
    """Runs the deliveries of a case, the first ones only if there is a most; says which of them
    fail, and how."""
    run = RUNNERS[subject.runner]
    assert run is not None
    ways = list(islice(deliveries(case), most))
    for listener, (how, parts) in [*((UNIX, way) for way in ways), (TCP, ways[0])]:
        try:
            with closing(Recorder(server.addresses[listener])) as client:
                run(case, parts, client)
        except (AssertionError, OSError) as exc:
            yield f"{how}, listener {listener}: {type(exc).__name__}: {exc}"


def check(subject: Subject, case: Case, server: Server) -> None:
    """Holds all deliveries of a case to what it says, and to tracebacks that are none."""
    logged = count_tracebacks(server.log)
    failed = list(islice(failures(subject, case, server), 3))
    assert not failed, "\n".join([f"{case.name} ({case.reference})", *failed])
    assert server.popen.poll() is None, server.log
    assert count_tracebacks(server.log) == logged, server.log


@pytest.mark.parametrize(("subject", "case"), ALL)
def test_a_wire_case_is_answered_the_same_however_it_comes(
    subject: Subject, case: Case, server_for: Callable[..., Server]
) -> None:
    check(subject, case, server_for(subject.settings))


@pytest.mark.parametrize(("subject", "case"), BODIES)
def test_a_wire_case_is_answered_the_same_by_who_reads_while_it_comes(
    subject: Subject, case: Case, server_for: Callable[..., Server]
) -> None:
    check(subject, case, server_for(subject.settings, stream_request_body=True))


@pytest.mark.parametrize(("subject", "case"), ALL)
def test_a_wire_case_is_answered_the_same_by_threads(
    subject: Subject, case: Case, server_for: Callable[..., Server]
) -> None:
    server = server_for(subject.settings, threads=4)
    failed = list(failures(subject, case, server, most=1))
    assert not failed, "\n".join([f"{case.name} ({case.reference})", *failed])
    assert server.popen.poll() is None, server.log


# ---- their number, and what they cover


def policy_names() -> dict[str, set[str]]:
    """What docs/http.md names for each row, and for what goes out."""
    cells = dict(re.findall(r"^\| (\d+) \|.*\|([^|]*)\|$", POLICY, re.MULTILINE))
    cells["out"] = "".join(re.findall(r"^What goes out \(cases: (.*)\):$", POLICY, re.MULTILINE))
    return {row: set(re.findall("`([^`]*)`", cell)) for row, cell in cells.items()}


def test_there_are_enough_wire_cases() -> None:
    assert len(ALL) >= 350


def test_every_row_of_the_policy_has_wire_cases_and_names_their_files() -> None:
    held: dict[str, set[str]] = {}
    for subject in SUBJECTS:
        for case in subject.cases:
            held.setdefault(case.row, set()).add(subject.name)
    named = {
        row: {name for name in names if "." not in name} for row, names in policy_names().items()
    }
    assert named == held
    assert named.keys() == {"out", *map(str, range(1, 52))}


def test_every_test_that_the_policy_names_is_there() -> None:
    folders = {".c": "c", ".py": "py"}
    names = [Path(name) for names in policy_names().values() for name in names if "." in name]
    assert names
    assert not [str(name) for name in names if not (TESTS / folders[name.suffix] / name).is_file()]


# ---- the runner itself

GOOD = "== a\n-- row 1, RFC 9112 2.2\n> x\n< 200 open\n"


def read(tmp_path: Path, text: str) -> Subject:
    path = tmp_path / "subject.txt"
    path.write_text(text, encoding="ascii")
    return read_subject(path)


@pytest.mark.parametrize(
    "text",
    [
        "@ runner nobody\n" + GOOD,
        "@ set head_timeout soon\n" + GOOD,
        "@ layers\n" + GOOD,
        GOOD + "@ layers no\n",
        GOOD + GOOD,
        GOOD.replace("== a\n", ""),
        GOOD.replace("-- row 1, RFC 9112 2.2\n", ""),
        GOOD.replace("row 1", "row one"),
        GOOD.replace("RFC 9112 2.2", "RFC 9112"),
        GOOD.replace("> x\n", ""),
        GOOD.replace("> x", "> \\q"),
        GOOD.replace("> x", "* many x"),
        GOOD.replace("< 200 open\n", ""),
        GOOD.replace("open", "ajar"),
        GOOD + "! half\n",
        GOOD + "? soon\n",
        GOOD + "} x\n",
    ],
)
def test_a_file_that_is_not_of_its_form_is_an_error(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, GOOD).cases
    with pytest.raises(CaseError):
        read(tmp_path, text)


def test_a_case_says_what_goes_in_and_what_comes_out(tmp_path: Path) -> None:
    text = (
        "# all of it\n@ runner http\n@ set max_body 32\n@ layers no\n\n"
        "== a: b\n-- out, RFC 9110 15\n! end\n> a\\r\\n\n* 2 b\\x20\n? 100\n> c\n"
        "< 100 200 close\n= d\\\\\n= e\n+ F: g\\t\n~ H\n: i\n: j\n"
    )
    case = Case(
        name="a: b",
        reference="out, RFC 9110 15",
        inputs=[Input(bytearray(b"a\r\nb b "), [(3, 7)], 100), Input(bytearray(b"c"))],
        statuses=[100, 200],
        state="close",
        body=b"d\\e",
        fields=[("F", "g\t")],
        absent=["H"],
        output=b"ij",
        end=True,
    )
    assert read(tmp_path, text) == Subject("subject", "http", {"max_body": 32}, [case])


def test_a_short_case_is_cut_at_every_byte_and_each_wait_by_itself() -> None:
    case = Case("a", inputs=[Input(bytearray(b"abc"), [], 100), Input(bytearray(b"de"))])
    assert list(deliveries(case)) == [
        ("whole", [[b"abc"], [b"de"]]),
        ("in parts of 1", [[b"a", b"b", b"c"], [b"d", b"e"]]),
        ("cut at 1", [[b"a", b"bc"], [b"de"]]),
        ("cut at 2", [[b"ab", b"c"], [b"de"]]),
        ("cut at 1 of part 2", [[b"abc"], [b"d", b"e"]]),
    ]


def test_a_long_case_is_cut_near_delimiters_sizes_and_the_ends_of_what_is_repeated() -> None:
    data = bytearray(b"x" * 500 + b":" + b"y" * 499 + b"a,b" * 5000 + b"z" * 20000)
    case = Case("a", inputs=[Input(data, [(1000, 16000)])])
    whole, in_parts, *cut = list(deliveries(case))
    assert [len(part) for part in in_parts[1][0][:-1]] == [997] * (len(data) // 997)
    cuts = {len(parts[0][0]) for _, parts in cut}
    centres = {500, 1000, 8192, 16000, 32768}
    centres |= {1001 + 3 * i for i in (*range(10), *range(4990, 5000))}
    assert cuts == {centre + by for centre in centres for by in range(-2, 3)}
    assert all(b"".join(parts[0]) == data for _, parts in [whole, in_parts, *cut])
