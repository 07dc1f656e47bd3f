"""What is generated: requests by the grammar of RFC 9112, and bytes that were such requests."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from hypothesis import strategies as st

# ---- the grammar's alphabets, latin-1 standing for bytes

DIGITS = string.digits
LETTERS = string.ascii_letters
TCHARS = DIGITS + LETTERS + "!#$%&'*+-.^_`|~"  # RFC 9110 5.6.2
PCHARS = DIGITS + LETTERS + "-._~!$&'()*+,;=:@"  # RFC 3986 3.3, without escapes
QUERY_CHARS = PCHARS + '/?%[]|^"<>\\{}`'  # and what browsers send beside them (row 25)
VCHARS = "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)]))  # and obs-text

# A name that means something must have a value that it may have; these are drawn by themselves.
MEANINGFUL = {b"host", b"connection", b"content-length", b"transfer-encoding", b"expect"}
# Trailers that are refused (row 19).
NO_TRAILERS = re.compile(
    rb"(?i)(host|te|trailer|connection|keep-alive|proxy-connection|upgrade|forwarded|via|cookie"
    rb"|authorization|expect|pragma|range|if-.*|x-.*|content-.*|set-cookie|cache-control)\Z"
)


def _bytes(alphabet: str, *, least: int = 0, most: int = 20) -> st.SearchStrategy[bytes]:
    text = st.text(alphabet, min_size=least, max_size=most)
    return text.map(lambda drawn: drawn.encode("latin-1"))


tokens = _bytes(TCHARS, least=1)
spaces = st.sampled_from([b"", b" ", b" ", b" ", b"\t", b"  \t "])  # OWS

# ---- heads

COMMON_METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE"]
methods = st.one_of(
    *[st.sampled_from(COMMON_METHODS)] * 7,  # llhttp knows no others, and would show nothing else
    _bytes(TCHARS, least=1, most=32).filter(lambda method: method != b"CONNECT"),
)

paths = st.lists(
    st.one_of(_bytes(PCHARS, most=8), st.sampled_from([b"/", b"//", b"%41", b"%2f", b"..", b"."])),
    max_size=4,
).map(lambda parts: b"/" + b"".join(parts))
queries = st.one_of(st.just(b""), _bytes(QUERY_CHARS).map(lambda query: b"?" + query))
hosts = st.sampled_from(
    [b"a", b"a:80", b"example.com", b"127.0.0.1:8000", b"[::1]", b"[::1]:80", b"a-b_c.d~", b"a%41"]
)
origin_forms = st.tuples(paths, queries).map(b"".join)
absolute_forms = st.tuples(
    st.sampled_from([b"http://", b"https://", b"HTTP://"]),
    hosts,
    st.one_of(st.just(b""), paths),
    queries,
).map(b"".join)
targets = st.one_of(origin_forms, origin_forms, origin_forms, absolute_forms)

values = st.one_of(
    st.just(b""),
    _bytes(VCHARS),
    st.lists(_bytes(VCHARS, least=1, most=8), min_size=1, max_size=3).map(b" \t".join),
)
Field = tuple[bytes, bytes]
plain_fields = st.tuples(tokens, values).filter(lambda field: field[0].lower() not in MEANINGFUL)
known_fields = st.sampled_from(
    [
        (b"Connection", b"keep-alive"),
        (b"connection", b"close"),
        (b"Connection", b"Keep-Alive, x"),
        (b"Connection", b"x,,\tclose"),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Upgrade", b"h2c"),
        (b"Expect", b"100-Continue"),
        (b"Proxy-Connection", b"close"),
        (b"Content-Length-", b"5"),
        (b"X-Transfer-Encoding", b"chunked"),
        (b"Content_Length", b"5"),
        (b"Cookie", b"a=b; c=d"),
        (b"Content-Type", b"text/plain; charset=utf-8"),
    ]
)

# ---- bodies

extension_values = st.one_of(
    tokens,
    _bytes(VCHARS.replace('"', "").replace("\\", "") + " \t").map(lambda text: b'"%b"' % text),
    st.sampled_from([b'"\\""', b'"\\\\"', b'"\\;"', b'";"', b'""']),
)
extensions = st.lists(
    st.one_of(
        tokens.map(lambda name: b";" + name),
        st.tuples(tokens, extension_values).map(lambda pair: b";%b=%b" % pair),
        st.sampled_from([b" ;a", b";\ta", b"; a = b", b';a ="b"']),
    ),
    max_size=2,
).map(b"".join)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body, and how it goes over the wire."""
    chunks = draw(st.lists(bodies.filter(len), max_size=3))
    wire = b""
    for chunk in [*chunks, b""]:
        size = draw(st.sampled_from([b"%x", b"%X", b"%04x", b"%016X"])) % len(chunk)
        wire += size + draw(st.one_of(st.just(b""), extensions)) + b"\r\n"
        wire += chunk + b"\r\n" if chunk else b""
    for name, value in draw(st.lists(plain_fields, max_size=2)):
        if not NO_TRAILERS.match(name):
            wire += b"%b:%b\r\n" % (name, draw(spaces) + value)
    return b"".join(chunks), wire + b"\r\n"


bodies = st.one_of(
    st.binary(max_size=20),
    # What looks like more requests, or like the end of a body.
    st.sampled_from([b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"a" * 300]),
)

# ---- requests


@dataclass(frozen=True)
class Request:
    """A request as it was meant, and its bytes."""

    method: bytes
    target: bytes
    fields: tuple[Field, ...]
    body: bytes
    wire: bytes


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request that the server accepts."""
    method, target = draw(st.tuples(methods, targets))
    if draw(st.integers(0, 19)) == 0:
        method, target = b"OPTIONS", b"*"
    version = draw(st.sampled_from([b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2"]))
    fields = draw(st.lists(st.one_of(plain_fields, known_fields), max_size=3))
    if version != b"HTTP/1.0" or draw(st.booleans()):
        fields.append((b"Host", draw(st.one_of(hosts, st.just(b"")))))
    if version == b"HTTP/1.0" and draw(st.booleans()):
        fields.append((b"Connection", b"keep-alive"))
    body = wire_body = b""
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "chunked" and version != b"HTTP/1.0":
        body, wire_body = draw(chunked_bodies())
        fields.append((b"Transfer-Encoding", draw(st.sampled_from([b"chunked", b"Chunked"]))))
    elif framing == "length":
        body = wire_body = draw(bodies)
        length = draw(st.sampled_from([b"%d", b"%d", b"%03d"])) % len(body)
        fields.append((draw(st.sampled_from([b"Content-Length", b"content-length"])), length))
    fields = draw(st.permutations(fields))
    lines = [b"\r\n" * draw(st.sampled_from([0] * 14 + [1, 2])), method, b" ", target, b" "]
    lines += [version, b"\r\n"]
    for name, value in fields:
        lines += [name, b":", draw(spaces), value, draw(spaces), b"\r\n"]
    wire = b"".join([*lines, b"\r\n", wire_body])
    return Request(method, target, tuple(fields), body, wire)


# ---- mutations

# What means something to a parser, and what might to a careless one.
MEANT = [
    *(bytes([byte]) for byte in b'\r\n \t\x00\x0b\x0c,;:="\\0a\x7f\x80\x85\xa0\xff_'),
    *(b"\r\n", b"\n\n", b"\r\r\n", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b"0x", b"+", b"-"),
    *(b"0\r\n\r\n", b"HTTP/1.1", b"#", b"\xc4\xb0", b"\xe2\x80\xa8"),
]
LENGTHS = [
    *(b"", b"0", b"1", b"5", b"05", b"+5", b"-0", b"5 5", b"5, 5", b"5,6", b"0x5", b"5;a", b"5\t"),
    *(
        b"\x0b5",
        b"5\x0c",
        b"5\x00",
        b'"5"',
        b"5.0",
        b"5e0",
        b"1_0",
        b"\xb2",
        b"9223372036854775808",
    ),
    *(b"18446744073709551616", b"18446744073709551621", b"00000000000000000005"),
]
CODINGS = [
    *(b"", b"chunked", b"CHUNKED", b" chunked\t", b"xchunked", b"chunkedx", b"chunke", b"identity"),
    *(b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"chunked, chunked"),
    *(b"chunked;a", b"chunked,", b", chunked", b'"chunked"', b"\x0bchunked", b"chunked\x0c"),
    *(b"chunked\x00", b"chun\r\n ked", b"\xa0chunked"),
]
# Names that look like those; "\xeb" is VT with its highest bit set.
LIKE_LENGTH = [
    *(b"Content-Length :", b"Content-Length\t:", b" Content-Length:", b"Content_Length:"),
    *(b"Content-Length\x00:", b"\tContent-Length:", b"Content-Length\xeb:", b"X\nContent-Length:"),
    *(b"X\rContent-Length:", b"X: y\nContent-Length:", b"X: y\rContent-Length:"),
]
LIKE_CODING = [
    *(
        b"Transfer-Encoding :chunked",
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding",
        b": chunked",
    ),
    *(b"Transfer-Encoding\r\n: chunked", b"X: y\nTransfer-Encoding: chunked", b"chunked"),
]
OTHER_LINES = [
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: h2c"),
    *(b"Connection: Content-Length", b"Connection: close, keep-alive", b"Expect: 100-continue"),
    *(b"Host: b", b"Host:", b"", b" ", b"\t"),
    *(b"0", b"5", b"5;a=b", b"5 ", b"+5", b"0x5", b"00000000000000005", b"ffffffffffffffff"),
]
FRAMING_LINES = [
    *(b"Content-Length: " + length for length in LENGTHS),
    *(b"Transfer-Encoding: " + coding for coding in CODINGS),
    *(name + length for name in LIKE_LENGTH for length in (b" 5", b"0")),
    *LIKE_CODING,
    *OTHER_LINES * 2,
]

_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_DELIMITER = re.compile(rb"[\r\n:;, \t=/]")


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """data after one edit."""
    what = draw(st.integers(0, 11))
    if what < 5:  # at a byte: mostly one that delimits
        places = [match.start() for match in _DELIMITER.finditer(data)]
        at = draw(st.sampled_from(places) if places and what < 4 else st.integers(0, len(data)))
        at += draw(st.integers(0, 1))
        cut = draw(st.sampled_from([0, 0, 0, 1, 1, 2]))
        return data[:at] + draw(st.sampled_from([b"", *MEANT])) + data[at + cut :]
    lines = _LINE.findall(data) or [b""]
    at = draw(st.integers(0, len(lines) - 1))
    if what < 8:  # a line that frames comes in, or takes another's place
        end = draw(st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b"\n\r\n", b""]))
        lines[at : at + draw(st.integers(0, 1))] = [draw(st.sampled_from(FRAMING_LINES)) + end]
    elif what == 8:
        lines.insert(draw(st.integers(0, len(lines))), lines[at])
    elif what == 9:
        del lines[at]
    elif what == 10:
        lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
    else:
        return data[: draw(st.integers(0, len(data)))]
    return b"".join(lines)


@st.composite
def mutated(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """One or two edits of what a strategy yields, and mostly a plain request behind it, which
    shows where the one before ends."""
    data = draw(sources)
    for _ in range(draw(st.integers(1, 2))):
        data = draw(mutations(data))
    return data + draw(st.sampled_from([b"", PROBE, PROBE, PROBE * 2]))


PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"
pipelines = st.lists(requests(), min_size=1, max_size=3)
pipelined = pipelines.map(lambda drawn: b"".join(request.wire for request in drawn))
