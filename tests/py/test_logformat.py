"""The %-formats: which are refused, naming what is wrong, and what their atoms say."""

from __future__ import annotations

from typing import Any

import pytest
from meinheld._logformat import Entry, Format, entry_of, escape, local_time

ENTRY = Entry(
    {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/a%20b?c",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_USER_AGENT": 'a"b',
        "HTTP_X_ONE": "1",
        "CONTENT_TYPE": "text/plain",
    },
    [("X-Two", "2"), ("x-two", "3")],
    200,
    12,
    1234567,
    "26/Nov/2026:01:26:14 +0000",
)


def line(text: str, **environ: Any) -> str:
    return Format(text).line(ENTRY._replace(environ={**ENTRY.environ, **environ}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%(h)s %(l)s %(u)s", "192.0.2.1 - -"),
        ('"%(r)s" %(m)s %(U)s %(q)s %(H)s', '"GET /a%20b?c HTTP/1.1" GET /a b c HTTP/1.1'),
        ("%(s)s %(b)s %(B)s", "200 12 12"),
        ('"%(f)s" "%(a)s"', '"-" "a\\x22b"'),
        ("%(T)s %(L)s %(M)s %(D)s", "1 1.234567 1234 1234567"),
        ("%(D)010d|%(D)-10d|%(h)12s|%(L).3s", "0001234567|1234567   |   192.0.2.1|1.2"),
        ("%({X-One}i)s %({x_one}i)s %({content-type}i)s %({none}i)s", "1 1 text/plain -"),
        ("%({X-TWO}o)s %({none}o)s", "2, 3 -"),
        ("%({PATH_INFO}e)s %({path_info}e)s %({none}e)s", "/a b /a b -"),
        ("100%% %%(h)s", "100% %(h)s"),
        ("", ""),
    ],
)
def test_each_atom_says_what_it_is_for(text: str, expected: str) -> None:
    assert line(text) == expected


def test_the_time_has_brackets_once() -> None:
    """gunicorn's format counts on the atom for them, the original's has its own."""
    time = "26/Nov/2026:01:26:14 +0000"
    assert line("%(t)s") == f"[{time}]"
    assert line("- [%(t)s] -") == f"- [{time}] -"
    assert line("[%(t)s") == f"[[{time}]"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("%(Z)s", "'Z'"),
        ("%(h)s %()s", "''"),
        ("%({x}z)s", "'{x}z'"),
        ("%({}i)s", "'{}i'"),
        ("%({x)s", "'{x'"),
        ("%(h", "'%(h' is no atom"),
        ("%h %s", "'%h %s' is no atom"),
        ("100%", "'%' is no atom"),
        ("%(h)d", "must be %(h)s"),
        ("%(h)r", "must be %(h)s"),
        ("%(t)q", "must be %(t)s"),
        ("%(h)s\n", "control characters"),
        ("%(h)10000s", "'%(h)10000s' is no atom"),
        ("%(h).99999999999999999999s", "is no atom"),
    ],
)
def test_what_is_no_format_is_refused_and_named(text: str, named: str) -> None:
    with pytest.raises(ValueError) as caught:
        Format(text)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "user"),
    [
        ({"REMOTE_USER": "somebody"}, "somebody"),
        ({"HTTP_AUTHORIZATION": "Basic QWxhZGRpbjpvcGVu"}, "Aladdin"),
        ({"HTTP_AUTHORIZATION": "basic  QWxhZGRpbjpvcGVu "}, "Aladdin"),
        ({"HTTP_AUTHORIZATION": "Basic IgoKOng="}, "\\x22\\x0a\\x0a"),
        ({"HTTP_AUTHORIZATION": "Basic Ong="}, "-"),
        ({"HTTP_AUTHORIZATION": "Basic \xe9"}, "-"),
        ({"HTTP_AUTHORIZATION": "Basic A"}, "-"),
        ({"HTTP_AUTHORIZATION": "Bearer QWxhZGRpbjpvcGVu"}, "-"),
        ({"HTTP_AUTHORIZATION": 7}, "-"),
    ],
)
def test_the_user_is_the_apps_or_of_basic(environ: dict[str, Any], user: str) -> None:
    assert line("%(u)s", **environ) == user


def test_every_character_is_escaped_or_itself() -> None:
    for code in (*range(0x100), 0x20AC, 0xD800, 0x1F600):
        escaped = escape(chr(code))
        assert escaped.isascii() and escaped.isprintable()
        if chr(code) in '"\\' or not 0x20 <= code < 0x7F:
            assert escaped.startswith("\\") and int(escaped[2:], 16) == code
        else:
            assert escaped == chr(code)


def test_what_is_long_is_cut_between_escapes() -> None:
    for length in range(4080, 4110):
        text = line("%(a)s", HTTP_USER_AGENT="x" * (length - 4080) + "\xff" * 2000)
        assert len(text) <= 4096 and text.endswith("\\xff...")
    assert line("%(a)s", HTTP_USER_AGENT="x" * 4096) == "x" * 4096
    assert line("%(r)s", RAW_URI="/" * 8192) == f"GET {'/' * 8192} HTTP/1.1"
    assert len(line("%(r)s" * 5, RAW_URI='"' * 100000)) <= 32000


def test_an_environ_of_anything_makes_a_line() -> None:
    odd = {key: value for key in ENTRY.environ for value in [b"\n"]}
    every = "%(h)s %(r)s %(m)s %(U)s %(q)s %(H)s %(f)s %(a)s %(u)s"
    assert "\n" not in line(every, **odd)
    assert Format(every).line(entry_of({})) == "- - - - - - - - - - -"


def test_local_time_is_apaches(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    for zone, expected in (
        ("UTC0", "26/Nov/2026:01:26:14 +0000"),
        ("XXX-5:30", "26/Nov/2026:06:56:14 +0530"),
        ("XXX3:30", "25/Nov/2026:21:56:14 -0330"),
    ):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert local_time(1795656374.9) == expected
    monkeypatch.undo()
    time.tzset()
