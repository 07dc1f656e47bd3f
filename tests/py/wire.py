"""Reads the cases of tests/wire, as its README.md describes them, cuts them into deliveries, and
runs one on a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rawclient import Client, CutShort, Response, WireError, request

CASES = Path(__file__).resolve().parent.parent / "wire"
# A case up to this size is cut at every byte, a longer one where that may matter.
CUT_LIMIT = 1024
# Prime, so that cuts at its multiples fall on no round number.
STEP = 997
# That is near these bytes, these sizes, and the ends of what is repeated.
DELIMITERS = b"\r\n \t:;,"
SIZES = (8192, 32768)
NEAR = 2
# Of what is repeated only so many delimiters count, at either end.
REPEATED = 10

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
_REFERENCE = re.compile(r"(?:row (?P<row>[1-9]\d*)|out), (?:RFC \d{4}|PROXY) \d+(?:\.\d+)*\Z")
_VARIES = re.compile(rb"(?<=\r\n)(Date: |Server: )[^\r]*")
_PROBE = request("/probe", host="probe")
_PROBE_ANSWER = b"GET /probe probe "


class CaseError(ValueError):
    """A case file is not of its form."""


@dataclass
class Input:
    """Bytes that are sent before anything is waited for."""

    data: bytearray = field(default_factory=bytearray)
    # Where what was written with "*" begins and ends.
    repeated: list[tuple[int, int]] = field(default_factory=list)
    # The status of the interim response that is waited for behind it.
    awaited: int | None = None


@dataclass
class Case:
    """One case; statuses are the final responses', in order."""

    name: str
    reference: str = ""
    inputs: list[Input] = field(default_factory=lambda: [Input()])
    statuses: list[int] = field(default_factory=list)
    state: str = ""
    body: bytes | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    output: bytes | None = None
    whole: bool = False
    end: bool = False

    @property
    def row(self) -> str:
        """The row of docs/http.md, or "out"."""
        match = _REFERENCE.match(self.reference)
        assert match is not None, self.reference
        return match["row"] or "out"

    def missing(self) -> bool:
        """Whether a line is missing that every case has."""
        return not (self.reference and self.inputs[0].data and self.state)


@dataclass
class Subject:
    """One file: what its cases run on, and the cases."""

    name: str
    runner: str = "http"
    settings: dict[str, int] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)


# ---- reading


def unescape(text: str) -> bytes:
    """Bytes from their notation. The file is ASCII, so a character is a byte."""

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in _SIMPLE:
            raise CaseError(f"no escape: \\{match[2]}")
        return _SIMPLE[match[2]]

    return _ESCAPE.sub(one, text).encode("latin-1")


def _add_input(case: Case, mark: str, text: str) -> None:
    current = case.inputs[-1]
    if current.awaited is not None:
        current = Input()
        case.inputs.append(current)
    if mark == ">":
        current.data += unescape(text)
    elif mark == "?":
        current.awaited = int(text)
    else:
        count, _, repeated = text.partition(" ")
        begin = len(current.data)
        current.data += unescape(repeated) * int(count)
        current.repeated.append((begin, len(current.data)))


def _add_line(case: Case, mark: str, text: str) -> None:
    if mark == "--":
        if not _REFERENCE.match(text):
            raise CaseError(f"no row and section: {text!r}")
        case.reference = text
    elif mark in (">", "*", "?"):
        _add_input(case, mark, text)
    elif mark == "<":
        *statuses, case.state = text.split()
        if case.state not in ("open", "close", "abort"):
            raise CaseError(f"neither open, close nor abort: {text!r}")
        case.statuses = [int(status) for status in statuses]
    elif mark == "=":
        case.body = (case.body or b"") + unescape(text)
    elif mark == "+":
        name, _, value = text.partition(": ")
        case.fields.append((name, unescape(value).decode("latin-1")))
    elif mark == "~":
        case.absent.append(text)
    elif mark == ":":
        case.output = (case.output or b"") + unescape(text)
    elif mark == "!" and text in ("whole", "end"):
        setattr(case, text, True)
    else:
        raise CaseError(f"no line of a case: {mark} {text}")


def _add_condition(subject: Subject, text: str) -> None:
    """A line that begins with @, of which "layers no" is for others."""
    what, *words = text.split()
    if subject.cases:
        raise CaseError(f"behind the first case: @ {text}")
    if what == "runner" and len(words) == 1 and words[0] in RUNNERS:
        subject.runner = words[0]
    elif what == "set" and len(words) == 2:
        subject.settings[words[0]] = int(words[1])
    elif text != "layers no":
        raise CaseError(f"no line before the cases: @ {text}")


def read_subject(path: Path) -> Subject:
    """One file, its cases checked to be complete and of different names."""
    subject = Subject(path.stem)
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        mark, _, text = line.partition(" ")
        try:
            if mark == "@":
                _add_condition(subject, text)
            elif mark == "==":
                subject.cases.append(Case(text))
            else:
                _add_line(subject.cases[-1], mark, text)
        except (CaseError, IndexError, ValueError) as exc:
            raise CaseError(f"{path.name}:{number}: {exc}") from exc
    for case in subject.cases:
        if case.missing():
            raise CaseError(f"{path.name}: {case.name!r} is not complete")
    if len({case.name for case in subject.cases}) != len(subject.cases):
        raise CaseError(f"{path.name}: two cases of one name")
    return subject


def read_subjects() -> list[Subject]:
    """All files, by name."""
    return [read_subject(path) for path in sorted(CASES.glob("*.txt"))]


# ---- deliveries

# For each Input of a case the parts that it is sent in.
Parts = list[list[bytes]]


def _cuts(data: bytes, repeated: list[tuple[int, int]]) -> list[int]:
    """Where to cut long input in two."""
    near = set(SIZES)
    delimiters = [i for i, byte in enumerate(data) if byte in DELIMITERS]
    for begin, end in repeated:
        inside = [i for i in delimiters if begin <= i < end]
        delimiters = [i for i in delimiters if not begin <= i < end]
        near.update(inside[:REPEATED], inside[-REPEATED:], (begin, end))
    near.update(delimiters)
    cuts = {at + by for at in near for by in range(-NEAR, NEAR + 1)}
    return sorted(cut for cut in cuts if 0 < cut < len(data))


def deliveries(case: Case) -> Iterator[tuple[str, Parts]]:
    """Every way to cut a case that must make no difference: what it is called, and the parts."""
    inputs = [bytes(one.data) for one in case.inputs]
    whole = [[data] for data in inputs]
    yield "whole", whole
    if case.whole:
        return
    short = sum(map(len, inputs)) <= CUT_LIMIT
    step = 1 if short else STEP
    yield (
        f"in parts of {step}",
        [[data[i : i + step] for i in range(0, len(data) or 1, step)] for data in inputs],
    )
    for index, one in enumerate(case.inputs):
        data = inputs[index]
        for cut in range(1, len(data)) if short else _cuts(data, one.repeated):
            parts = whole.copy()
            parts[index] = [data[:cut], data[cut:]]
            yield f"cut at {cut}" + (f" of part {index + 1}" if index else ""), parts


# ---- running


class Recorder(Client):
    """A client that keeps all that it receives."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.received = bytearray()
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def _fill(self, deadline: float) -> bool:
        known = len(self._input)
        more = super()._fill(deadline)
        self.received += self._input[known:]
        return more


def _send(case: Case, parts: Parts, client: Client) -> None:
    """Sends the parts, each after the server has read the one before, and waits where the case
    does."""
    for index, one in enumerate(case.inputs):
        *first, last = parts[index]
        for part in first:
            client.send_separately(part)
        client.send_if_open(last)
        if one.awaited is not None:
            status = client.read_head().status
            assert status == one.awaited, f"{status} in place of {one.awaited}"
    if case.end:
        client.finish_sending()


def _read_final(client: Client, method: str) -> Response:
    while True:
        response = client.read_response(method=method)
        if response.status >= 200:
            return response


def _check_last(case: Case, last: Response) -> None:
    if case.body is not None:
        assert last.body == case.body
    for name, value in case.fields:
        assert last.all(name) == [value], f"{name}: {last.all(name)}"
    for name in case.absent:
        assert not last.all(name), f"{name}: {last.all(name)}"
    if case.state == "open":
        assert not last.closes, "it says close"
    elif case.state == "close" and not case.end:
        assert last.closes, "it does not say close"


def _check_abort(client: Client) -> None:
    """What still comes is no whole response."""
    try:
        response = client.read_response()
    except (CutShort, ConnectionResetError):
        return
    raise WireError(f"a whole response in place of an abort: {response}")


def run_http(case: Case, parts: Parts, client: Recorder) -> None:
    """Sends the case in these parts, and checks what comes back."""
    _send(case, parts, client)
    # A case begins with HEAD or has none.
    method = "HEAD" if case.inputs[0].data.lstrip(b"\r\n").startswith(b"HEAD ") else "GET"
    last = None
    for status in case.statuses:
        last = _read_final(client, method)
        assert last.status == status, f"{last.status} in place of {status}: {last.body!r}"
        method = "GET"
    if last is not None:
        _check_last(case, last)
    if case.state == "close":
        client.expect_close()
    elif case.state == "abort":
        _check_abort(client)
    if case.output is not None:
        received = _VARIES.sub(lambda match: match[1] + match[1][:-2].upper(), client.received)
        assert received == case.output
    if case.state == "open":
        client.send(_PROBE)
        probe = client.read_response()
        assert (probe.status, probe.body) == (200, _PROBE_ANSWER)


Runner = Callable[[Case, Parts, Recorder], None]
# By the names of "@ runner"; None: of no concern to a server.
RUNNERS: dict[str, Runner | None] = {"http": run_http}
