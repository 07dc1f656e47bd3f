"""The %-formats of access logs: their atoms, escaped so that nothing that a client sends can end a
line or leave its quotes.

The atoms are gunicorn's, which has them from Apache, and so the original's:

h  address of the client                     m  method
l  -                                         U  path, without the query
u  user: REMOTE_USER, or of Basic            q  query
t  [local time], when the response ended     H  protocol
r  request line                              f  Referer
s  status                                    a  User-Agent
b  bytes of the body sent, - for none        B  the same, 0 for none
T  time taken, in whole seconds              L  in seconds, with 6 decimals
M  in milliseconds                           D  in microseconds
p  <pid>                                     {Name}i  a field of the request
{Name}o  a header of the application's       {key}e   of environ
"""

from __future__ import annotations

import binascii
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from meinheld._environ import Environ, field_key

# A conversion of the % operator, of no absurd width, or a % that begins none.
_CONVERSION: Final = re.compile(
    r"%(?:%|\((?P<atom>[^()]*)\)(?P<how>[-0]?\d{0,4}(?:\.\d{1,4})?[a-zA-Z]))?"
)

# The beginning of an escape, at the end of a text.
_PART: Final = re.compile(r"\\(?:x.?|u.{0,3}|U.{0,7})?\Z")

# What may not stand in a line as it is.
_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")

_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)


# The key of an environ that has nothing of a request but its first line, as it came.
RAW_LINE: Final = "meinheld.raw_line"


class Entry(NamedTuple):
    """What is known of an exchange that has ended."""

    environ: Environ
    headers: Sequence[tuple[str, str]]  # the application's
    status: object
    sent: int  # bytes of the body
    taken_us: int
    time: str  # as local_time() gives it


Atom = Callable[[Entry], object]

# Most characters of a value, of a request line, and of a line, which the C half takes up to 32767
# bytes long; what is longer is cut and ends in "...".
_SHORT: Final = 4096
_LONG: Final = 16384
_LINE: Final = 32000


def local_time(seconds: float) -> str:
    """A time since the epoch as Apache writes it, without brackets: 26/Nov/2026:01:26:14 +0000."""
    t = time.localtime(seconds)
    minutes = abs(t.tm_gmtoff) // 60
    sign = "-" if t.tm_gmtoff < 0 else "+"
    return (
        f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year:04}:"
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {sign}{minutes // 60:02}{minutes % 60:02}"
    )


def escape(text: str) -> str:
    """text as it may stand between quotes in a line: control characters, quotes, backslashes and
    what is outside of ASCII as \\xHH, or \\uHHHH above U+00FF."""
    # Nearly all texts are plain, of which this is sure in a tenth of the time.
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _UNSAFE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _text(value: object) -> str:
    """Whatever is found in an environ, which applications change, as a value of a line."""
    if value is None or value == "":
        return "-"
    text = escape(value if type(value) is str else str(value))
    return text if len(text) <= _SHORT else _cut(text, _SHORT)


def _cut(text: str, most: int) -> str:
    """text, escaped, or so much of it; no escape is cut in two."""
    if len(text) <= most:
        return text
    return _PART.sub("", text[: most - 3]) + "..."


def _key(key: str) -> Atom:
    return lambda entry: _text(entry.environ.get(key))


def _line(entry: Entry) -> str:
    get = entry.environ.get
    raw = get(RAW_LINE)
    if raw is not None:
        return _cut(escape(raw), _LONG) or "-"
    target = get("RAW_URI") or get("PATH_INFO") or "-"
    parts = (_text(get("REQUEST_METHOD")), escape(str(target)), _text(get("SERVER_PROTOCOL")))
    return _cut(" ".join(parts), _LONG)


def _user(entry: Entry) -> str:
    user = entry.environ.get("REMOTE_USER")
    if user:
        return _text(user)
    scheme, _, credentials = str(entry.environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        decoded = binascii.a2b_base64(credentials.strip())
    except ValueError:  # no base64, or not even ASCII
        return "-"
    return _text(decoded.partition(b":")[0].decode("latin-1"))


_ATOMS: Final[dict[str, Atom]] = {
    "h": _key("REMOTE_ADDR"),
    "l": lambda entry: "-",
    "u": _user,
    "t": lambda entry: f"[{entry.time}]",
    "r": _line,
    "s": lambda entry: _text(entry.status),
    "m": _key("REQUEST_METHOD"),
    "U": _key("PATH_INFO"),
    "q": _key("QUERY_STRING"),
    "H": _key("SERVER_PROTOCOL"),
    "b": lambda entry: entry.sent or "-",
    "B": lambda entry: entry.sent,
    "f": _key("HTTP_REFERER"),
    "a": _key("HTTP_USER_AGENT"),
    "T": lambda entry: entry.taken_us // 1000000,
    "D": lambda entry: entry.taken_us,
    "M": lambda entry: entry.taken_us // 1000,
    "L": lambda entry: f"{entry.taken_us / 1000000:.6f}",
    "p": lambda entry: f"<{os.getpid()}>",
}

# Those that are numbers, for %d.
_NUMBERS: Final = frozenset("BTDM")


def _response_field(name: str) -> Atom:
    lower = name.lower()

    def values(entry: Entry) -> str:
        return _text(", ".join(value for key, value in entry.headers if key.lower() == lower))

    return values


def _environ_key(key: str) -> Atom:
    return lambda entry: _text(entry.environ.get(key, entry.environ.get(key.upper())))


def _braced(atom: str) -> Atom | None:
    """The atom "{name}i" and its like; None if it is none."""
    name, brace, kind = atom[1:].rpartition("}")
    if not atom.startswith("{") or not brace or not name:
        return None
    if kind == "i":
        # The original's names have "_" for "-".
        return _key(field_key(name.replace("_", "-")) or "")
    if kind == "o":
        return _response_field(name)
    return _environ_key(name) if kind == "e" else None


class Format:
    """A %-format, ready for many lines."""

    def __init__(self, text: str, **atoms: Atom) -> None:
        """atoms take the place of those of their name.

        Raises ValueError for what is no atom or no conversion, naming it."""
        if not text.isprintable():
            raise ValueError(f"access log format {text!r}: a line has no control characters")
        self.text = text
        self.tells_headers = "}o)" in text  # so that an entry needs them
        self._atoms: list[Atom] = []
        template = []
        end = 0
        for match in _CONVERSION.finditer(text):
            template.append(text[end : match.start()])
            end = match.end()
            if match[0] == "%%":
                template.append("%%")
                continue
            self._atoms.append(self._find(match, atoms))
            template.append("%" + match["how"])
        template.append(text[end:])
        self._template = "".join(template)

    def _find(self, match: re.Match[str], atoms: dict[str, Atom]) -> Atom:
        """The atom of a conversion."""
        text, name, how = self.text, match["atom"], match["how"]
        if name is None:
            raise ValueError(f"access log format {text!r}: {text[match.start() :]!r} is no atom")
        atom = atoms.get(name) or _ATOMS.get(name) or _braced(name)
        if atom is None:
            raise ValueError(f"access log format {text!r}: there is no atom {name!r}")
        if how[-1] != "s" and (how[-1] != "d" or name not in _NUMBERS):
            raise ValueError(f"access log format {text!r}: {match[0]!r} must be %({name})s")
        before, after = text[: match.start()], text[match.end() :]
        if name == "t" and before.endswith("[") and after.startswith("]"):
            return _plain_time  # the original's format has the brackets itself
        return atom

    def line(self, entry: Entry) -> str:
        """The line of an exchange, without its end."""
        return _cut(self._template % tuple([atom(entry) for atom in self._atoms]), _LINE)


def _plain_time(entry: Entry) -> str:
    return entry.time


def entry_of(environ: Environ) -> Entry:
    """The entry that the keys for loggers make up: STATUS_CODE, SEND_BYTES, REQUEST_TIME,
    LOCAL_TIME."""
    return Entry(
        environ,
        (),
        environ.get("STATUS_CODE"),
        _number(environ.get("SEND_BYTES")),
        _number(environ.get("REQUEST_TIME")) * 1000,
        str(environ.get("LOCAL_TIME", "-")),
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
