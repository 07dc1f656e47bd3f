"""Reads the cases of tests/wire, as its README.md describes them, and runs one on a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rawclient import Client, Response, request

CASES = Path(__file__).resolve().parent.parent / "wire"
# Cases up to this size are also cut in two at every byte.
CUT_LIMIT = 1024

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
_PROBE = request("/probe", host="probe")
_PROBE_ANSWER = b"GET /probe probe "


class CaseError(ValueError):
    """A case file is not of its form."""


@dataclass
class Case:
    """One case; data is what is sent, statuses the final responses' in order."""

    name: str
    reference: str = ""
    data: bytes = b""
    statuses: list[int] = field(default_factory=list)
    reusable: bool = False
    body: bytes | None = None
    whole: bool = False
    end: bool = False


def unescape(text: str) -> bytes:
    """Bytes from their notation. The file is ASCII, so a character is a byte."""

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in _SIMPLE:
            raise CaseError(f"no escape: \\{match[2]}")
        return _SIMPLE[match[2]]

    return _ESCAPE.sub(one, text).encode("latin-1")


def _add_line(case: Case, mark: str, text: str) -> None:
    if mark == "--":
        case.reference = text
    elif mark == ">":
        case.data += unescape(text)
    elif mark == "*":
        count, _, repeated = text.partition(" ")
        case.data += unescape(repeated) * int(count)
    elif mark == "<":
        *statuses, state = text.split()
        if state not in ("open", "close"):
            raise CaseError(f"neither open nor close: {text!r}")
        case.statuses = [int(status) for status in statuses]
        case.reusable = state == "open"
    elif mark == "=":
        case.body = (case.body or b"") + unescape(text)
    elif mark == "!" and text in ("whole", "end"):
        setattr(case, text, True)
    else:
        raise CaseError(f"no line of a case: {mark} {text}")


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of one file, each checked to be complete."""
    cases: list[Case] = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        mark, _, text = line.partition(" ")
        try:
            if mark == "==":
                cases.append(Case(text))
            else:
                _add_line(cases[-1], mark, text)
        except (CaseError, IndexError, ValueError) as exc:
            raise CaseError(f"{path.name}:{number}: {exc}") from exc
    for case in cases:
        if not (case.reference and case.data and case.statuses):
            raise CaseError(f"{path.name}: {case.name!r} is not complete")
    if len({case.name for case in cases}) != len(cases):
        raise CaseError(f"{path.name}: two cases of one name")
    return iter(cases)


def deliveries(case: Case) -> Iterator[tuple[str, list[bytes]]]:
    """Every way to cut a case that must make no difference: what it is called, and the parts."""
    data = case.data
    yield "whole", [data]
    if case.whole:
        return
    if len(data) <= CUT_LIMIT:
        yield "byte by byte", [data[i : i + 1] for i in range(len(data))]
        for cut in range(1, len(data)):
            yield f"cut at {cut}", [data[:cut], data[cut:]]
    else:
        step = 997  # prime, so that the cuts fall on no round number
        yield f"in parts of {step}", [data[i : i + step] for i in range(0, len(data), step)]


def _method_of(data: bytes, index: int) -> str:
    """HEAD needs to be known to read its response; cases use it alone only."""
    return "HEAD" if index == 0 and data.startswith(b"HEAD ") else "GET"


def _read_final(client: Client, method: str) -> Response:
    while True:
        response = client.read_response(method=method)
        if response.status >= 200:
            return response


def run(case: Case, parts: list[bytes], client: Client) -> None:
    """Sends the parts, each after the server has read the one before; checks what comes back."""
    for part in parts[:-1]:
        client.send_separately(part)
    client.send_if_open(parts[-1])
    if case.end:
        client.finish_sending()
    last = None
    for index, status in enumerate(case.statuses):
        last = _read_final(client, _method_of(case.data, index))
        assert last.status == status, f"response {index + 1} is {last.status}: {last.body!r}"
    assert last is not None
    if case.body is not None:
        assert last.body == case.body
    if case.reusable:
        assert not last.closes, "it says close"
        client.send(_PROBE)
        probe = client.read_response()
        assert (probe.status, probe.body) == (200, _PROBE_ANSWER)
    else:
        assert last.closes, "it does not say close"
        client.expect_close()
