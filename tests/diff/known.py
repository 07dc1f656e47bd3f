"""The differences that may be. An entry says why it does no harm, and holds for as little as
possible, for certain bytes of our message and certain words of the peer, lest it hide others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from differences import Difference, Kind, first_difference
from framer import frame
from messages import Message
from peers import PEERS


@dataclass(frozen=True)
class Known:
    """A kind of difference with one cause."""

    name: str
    peer: str
    kind: Kind
    why: str
    # What holds for its bytes, and what ours and the peer make of them.
    holds: Callable[[Difference], object]
    # The whole of what the peer says, as a regular expression.
    says: str
    # Bytes that show it.
    example: bytes

    def explains(self, found: Difference) -> bool:
        """Whether a difference is one of these."""
        return (
            (found.peer, found.kind) == (self.peer, self.kind)
            and found.ours is not None
            and re.fullmatch(self.says, found.reason, re.DOTALL) is not None
            and bool(self.holds(found))
        )


def unknown_differences(data: bytes) -> Iterator[Difference]:
    """The differences that no entry explains. Behind one that is known the peer begins anew, at the
    message that we take next."""
    for peer in PEERS:
        rest = data
        while found := first_difference(rest, frame(rest), peer):
            if not any(known.explains(found) for known in KNOWN):
                yield found
                break
            if not found.message.keep_alive:
                break
            rest = rest[found.message.end :]


# ---- what the entries look for

# The methods that llhttp knows (llhttp's constants.ts), but for those of RTSP.
LLHTTP_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH"
    b" UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE"
    b" UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK QUERY".split()
)
_VERSION = re.compile(rb"(?:\r\n){0,2}[^\r\n]* HTTP/1\.([0-9])\r\n")
_CODING_THEN_TAB = re.compile(rb"\r\nTransfer-Encoding:[ \t]*chunked *\t[ \t]*\r\n", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]+")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')


def minor_version(data: bytes) -> int:
    """The minor version of a message."""
    match = _VERSION.match(data)
    assert match, data
    return int(match[1])


def tokens(message: Message, name: bytes) -> set[bytes]:
    """The elements of a list field, in lower case."""
    return {
        element.strip(b" \t").lower()
        for value in message.values(name)
        for element in value.split(b",")
    }


def head_of(data: bytes) -> bytes:
    """The head of a message, to the empty line."""
    start = len(data) - len(data.lstrip(b"\r\n"))
    return data[: data.index(b"\r\n\r\n", start) + 4]


def chunk_lines(found: Difference) -> Iterator[bytes]:
    """The line before each of its chunks, without quoted strings; none if that is not its
    framing."""
    if not found.message.values(b"transfer-encoding"):
        return
    size, end = 1, len(head_of(found.data))
    while size > 0:
        start, end = end, found.data.index(b"\r\n", end)
        line = found.data[start:end]
        yield _QUOTED.sub(b"", line)
        match = _CHUNK_SIZE.match(line)
        assert match, line
        size = int(match[0], 16)
        end += 2 + size + 2


def llhttp_keeps(found: Difference) -> bool:
    """Whether llhttp keeps the connection, or not, as these tokens would have it."""
    named = tokens(found.message, b"connection") | tokens(found.message, b"proxy-connection")
    keeps = b"keep-alive" in named if minor_version(found.data) == 0 else b"close" not in named
    assert found.theirs is not None
    return found.theirs.keep_alive is keeps


def leaves_a_body_to_the_upgrade(found: Difference) -> bool:
    """Whether the peer's message is ours without its body, and asks for an upgrade."""
    mine, other = found.message, found.theirs
    if other is None:
        return False
    end = mine.start + len(head_of(found.data))
    return (
        other == replace(mine, body=b"", end=end, keep_alive=other.keep_alive)
        and llhttp_keeps(found)
        and b"upgrade" in tokens(mine, b"connection") | tokens(mine, b"proxy-connection")
        and bool(mine.values(b"upgrade"))
        and bool(mine.values(b"transfer-encoding") or mine.values(b"content-length"))
    )


# ---- the entries

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

KNOWN: list[Known] = [
    Known(
        "empty lines before a request",
        "h11",
        Kind.REFUSES,
        "RFC 9112 2.2: a server should ignore at least one; row 7 allows two",
        lambda d: d.data.startswith(b"\r\n"),
        "no request line received",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    Known(
        "a connection of HTTP/1.0 that is kept",
        "h11",
        Kind.KEEPS,
        "RFC 9112 9.3: a recipient may honour keep-alive of HTTP/1.0; row 27 does, h11 never",
        lambda d: d.message.keep_alive and minor_version(d.data) == 0,
        "",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ),
    Known(
        "white space before an extension of a chunk",
        "h11",
        Kind.REFUSES,
        "RFC 9112 7.1.1: BWS must be accepted before the semicolon; h11 accepts it behind only",
        lambda d: any(re.match(rb"[0-9A-Fa-f]+[ \t]+;", line) for line in chunk_lines(d)),
        r"""illegal chunk header: bytearray\(b['"][0-9A-Fa-f]+( |\\t)+;.*['"]\)""",
        CHUNKED + b"1 ;a\r\nx\r\n0\r\n\r\n",
    ),
    Known(
        "a method that llhttp does not know",
        "llhttp",
        Kind.REFUSES,
        "RFC 9110 9.1: a method is any token, in its case; row 8",
        lambda d: d.message.method not in LLHTTP_METHODS,
        r"Invalid method encountered|Expected space after method",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    Known(
        "a later minor version",
        "llhttp",
        Kind.REFUSES,
        "RFC 9110 2.5: a later minor version of a known major one is taken as the latest known",
        lambda d: minor_version(d.data) > 1,
        "Invalid HTTP version",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    ),
    Known(
        "a tab behind chunked",
        "llhttp",
        Kind.REFUSES,
        "RFC 9110 5.5: OWS around a value is no part of it; llhttp takes blanks only for it here",
        lambda d: _CODING_THEN_TAB.search(head_of(d.data)),
        "Request has invalid `Transfer-Encoding`",
        CHUNKED.replace(b"chunked", b"chunked\t") + b"0\r\n\r\n",
    ),
    Known(
        "white space in the extensions of a chunk",
        "llhttp",
        Kind.REFUSES,
        "RFC 9112 7.1.1: BWS must be accepted around the semicolon and the equals sign",
        lambda d: any(re.search(rb"[ \t]", line) for line in chunk_lines(d)),
        r"Invalid character in chunk (size|extensions|extensions (name|value|quote value))",
        CHUNKED + b"1; a\r\nx\r\n0\r\n\r\n",
    ),
    Known(
        "close beside keep-alive in HTTP/1.0",
        "llhttp",
        Kind.KEEPS,
        "RFC 9112 9.3: close is looked for first; llhttp looks in HTTP/1.0 for keep-alive only",
        lambda d: (
            minor_version(d.data) == 0
            and {b"close", b"keep-alive"} <= tokens(d.message, b"connection")
            and llhttp_keeps(d)
        ),
        "",
        b"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
    ),
    Known(
        "Proxy-Connection",
        "llhttp",
        Kind.KEEPS,
        "RFC 9112 C.2.2: it is no field of the standard's; llhttp takes it for Connection",
        lambda d: (
            tokens(d.message, b"proxy-connection") & {b"close", b"keep-alive"} and llhttp_keeps(d)
        ),
        "",
        b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n",
    ),
    Known(
        "a body in a request to upgrade",
        "llhttp",
        Kind.FRAMES,
        "RFC 9110 7.8: the body comes before the other protocol. httptools, not llhttp, leaves it"
        " unread for that protocol's sake; row 35 has none",
        leaves_a_body_to_the_upgrade,
        "|we wait",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1"
        b"\r\n\r\nx",
    ),
]
