"""From the strings of a request's head to environ (PEP 3333, "environ Variables").

What requests repeat is made once and kept, by numbers that the C half gives (see mhpy.h):

- A *plan* holds what depends on the sequence of the field names, the listener and the version: a
  pristine dict with every key in place, and the keys whose values a request brings.
- A *block* is what the fields alone decide, names and values: HTTP_*, CONTENT_TYPE, CONTENT_LENGTH.
- A *template* is a pristine environ. One of a whole head (Known, in _wsgi.py) holds all that the
  head's bytes and its listener decide; one of a block lacks what the request line says.
- A *peer* is what environ says of the connection. No template holds it: it is set each time.

None of these dicts is ever handed to an application: it gets copies. All are bounded by the C
half's tables, but for the templates of blocks, which are dropped when they are many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from meinheld._forwarded import Forwarded

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

# What every request brings before its fields; the wire knows them in this order.
_FIXED = (
    "REQUEST_METHOD",
    "RAW_URI",
    "PATH_INFO",
    "QUERY_STRING",
)

# What a peer brings, of which the last only at a wildcard.
_PEER = ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME")
# And behind that, where a PROXY header came; without addresses in it only the first. gunicorn's.
_PROXY = ("PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")

# What the server alone says, and no deployer (check_variables).
_OWN = (
    *_FIXED,
    *_PEER,
    *_PROXY,
    "REQUEST_URI",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
)

# What stands between the values of a repeated field: of cookies as RFC 6265 4.2.1 says, else a
# comma (RFC 9110 5.2).
JOINTS: Final = {"HTTP_COOKIE": "; "}

# Templates of blocks kept at once: a block has one for each listener and version it comes with.
_MAX_TEMPLATES = 512


class Plan(NamedTuple):
    """How heads of one kind become environ."""

    base: Environ
    keys: tuple[str | None, ...]  # of the fields; None: the value is dropped
    plain: bool  # each key once, none dropped
    short: tuple[str, ...]  # if plain, the keys of all strings that a request brings, else none


class Place(NamedTuple):
    """What environ says of a listener."""

    name: str  # SERVER_NAME, unless wildcard; see server_name
    port: str  # SERVER_PORT
    wildcard: bool  # each request tells its local address


def server_name(address: str) -> str:
    """SERVER_NAME for an address: one of IPv6 is in brackets (RFC 3875 4.1.14), so that a URL can
    be made of it as PEP 3333 does."""
    return f"[{address}]" if ":" in address else address


def check_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """What a deployer wants to be in each environ (PEP 3333, "Application Configuration"), as a new
    dict. Raises TypeError and ValueError, naming the variable."""
    for key, value in variables.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"a variable of environ and its value must be str: {key!r}, {value!r}")
        if any(ord(char) > 255 for char in key + value):
            raise ValueError(f"environ holds latin-1 alone (PEP 3333): {key!r}, {value!r}")
        if key == "SCRIPT_NAME":
            if value and (value[0] != "/" or value[-1] == "/"):
                raise ValueError(f"SCRIPT_NAME begins with / and does not end with one: {value!r}")
        elif key == "wsgi.url_scheme":
            if value not in ("http", "https"):
                raise ValueError(f"wsgi.url_scheme must be http or https, not {value!r}")
        elif key in _OWN or key.startswith(("HTTP_", "wsgi.")):
            raise ValueError(f"{key} is the server's to say")
    return dict(variables)


def field_key(name: str) -> str | None:
    """environ's key for a field, None if it is not to be seen.

    A name with "_" would be taken for one with "-" (row 26 of docs/http.md). Transfer-Encoding is
    gone once the body has been decoded (row 13); so it is always.

    Not interned: clients choose the names, and CPython 3.12 never frees an interned string."""
    key = name.upper().replace("-", "_")
    if "_" in name or key == "TRANSFER_ENCODING":
        return None
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = "HTTP_" + key
    return key


class Plans:
    """What one run has learned."""

    def __init__(
        self, places: list[Place], shared: Environ, forwarded: Forwarded | None = None
    ) -> None:
        """shared: what is the same for all requests; places: the listeners in their order;
        forwarded: what proxies may say, if that is to be looked at."""
        self._places = places
        self._shared = shared
        self._script: str = shared["SCRIPT_NAME"]
        self._key = forwarded.key if forwarded else field_key
        self._joints = forwarded.joints if forwarded else JOINTS
        self._shapes: dict[int, list[str]] = {}
        self._plans: dict[int, Plan] = {}
        self._blocks: dict[int, Environ] = {}
        self._templates: dict[int, Environ] = {}
        self.peers: dict[int, Environ] = {}

    def learn(self, shape: int, names: list[str]) -> None:
        """A shape's field names; plans of its number are made when asked for."""
        self._shapes[shape] = names

    def meet(self, peer: int, texts: list[str]) -> None:
        """What environ says of a peer. It takes the place of the one before of that number."""
        proxied = texts[-len(_PROXY) :] if len(texts) > len(_PEER) else []
        self.peers[peer] = met = dict(zip(_PEER, texts[: len(texts) - len(proxied)]))
        met.update(zip(_PROXY, proxied if proxied[1:2] != [""] else proxied[:1]))
        if "SERVER_NAME" in met:
            met["SERVER_NAME"] = server_name(met["SERVER_NAME"])

    def forget_shapes(self) -> None:
        """All shapes are void."""
        self._shapes.clear()
        self._plans.clear()

    def forget_blocks(self) -> None:
        """All blocks are void."""
        self._blocks.clear()
        self._templates.clear()

    def short_environ(self, number: int, texts: list[str]) -> Environ | None:
        """environ of a head of the plainest kind, without what its peer brings: no flag, nothing to
        be learned, and a plan with each key once. None if it is not."""
        plan = self._plans.get(number)
        if plan is None or len(texts) != len(plan.short):
            return None
        environ = plan.base.copy()
        environ.update(zip(plan.short, texts))
        environ["REQUEST_URI"] = texts[1]
        if self._script:
            environ["PATH_INFO"] = self._below(texts[2])
        return environ

    def environ(
        self, number: int, texts: list[str], named: bool, absolute: bool, block: int
    ) -> Environ | None:
        """environ of a head whose fields travel along, without what its peer brings; None if its
        strings are not as many as they should be. named: the names do too; absolute: so does an
        authority; block: learn its fields by that number, if it is not 0."""
        fixed = len(_FIXED)
        fields = len(texts) - fixed - absolute
        if named:
            # Too few strings of a name, a value and what is fixed make the counts below differ.
            fields //= 2
            plan = self._build(number, texts[: max(0, fields)])
            texts = texts[fields:]
        else:
            found = self._plans.get(number) or self._make(number)
            if found is None:
                return None
            plan = found
        if len(texts) != fixed + len(plan.keys) + absolute:
            return None
        environ = plan.base.copy()
        _fill(environ, plan, texts[fixed : fixed + len(plan.keys)], self._joints)
        if block:
            self._blocks[block] = {key: environ[key] for key in plan.keys if key is not None}
        self._set_line(environ, texts)
        if absolute:
            environ["HTTP_HOST"] = texts[-1]
        return environ

    def environ_of_block(self, number: int, texts: list[str], absolute: bool) -> Environ | None:
        """The same for a head whose fields are known."""
        template = self._templates.get(number)
        if template is None:
            block = self._blocks.get(number >> 16)
            if block is None:
                return None
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            template = self._templates[number] = {**self._base(number), **block}
        if len(texts) != len(_FIXED) + absolute:
            return None
        environ = template.copy()
        self._set_line(environ, texts)
        if absolute:
            environ["HTTP_HOST"] = texts[-1]
        return environ

    def _set_line(self, environ: Environ, texts: list[str]) -> None:
        """Sets what the request line brings."""
        environ["REQUEST_METHOD"] = texts[0]
        environ["RAW_URI"] = environ["REQUEST_URI"] = texts[1]
        path = texts[2]
        environ["PATH_INFO"] = self._below(unescape(path) if "%" in path else path)
        environ["QUERY_STRING"] = texts[3]

    def _below(self, path: str) -> str:
        """PATH_INFO: path without SCRIPT_NAME, which a proxy may have taken off already."""
        rest = path[len(self._script) :]
        return rest if path.startswith(self._script) and rest[:1] in ("", "/") else path

    def _make(self, number: int) -> Plan | None:
        """The plan of that number (see MHPY_REQUEST in mhpy.h), kept from now on. None if its shape
        was never told."""
        names = self._shapes.get(number >> 16)
        if names is None:
            return None
        plan = self._plans[number] = self._build(number, names)
        return plan

    def _base(self, number: int) -> Environ:
        """What the listener and the version that number tells decide, and the other keys that each
        environ has."""
        place = self._places[(number & 0xFFFF) >> 1]
        return {
            **self._shared,
            **dict.fromkeys((*_FIXED, *_PEER, "REQUEST_URI"), ""),
            "SERVER_NAME": place.name,
            "SERVER_PORT": place.port,
            "SERVER_PROTOCOL": "HTTP/1.0" if number & 1 else "HTTP/1.1",
        }

    def _build(self, number: int, names: list[str]) -> Plan:
        """A plan for names."""
        base = self._base(number)
        keys = tuple(self._key(name) for name in names)
        plain = None not in keys and len(set(keys)) == len(keys)
        # With all keys in place, the copy has its final size and filling only replaces values.
        base.update((key, "") for key in keys if key)
        return Plan(base, keys, plain, (*_FIXED, *filter(None, keys)) if plain else ())


def _fill(environ: Environ, plan: Plan, values: list[str], joints: Mapping[str, str]) -> None:
    """Sets what the fields bring: drops what has no key, and joins repeated fields."""
    if plan.plain:
        environ.update(zip(plan.keys, values))  # type: ignore[arg-type]
        return
    lines: dict[str, list[str]] = {}
    for key, value in zip(plan.keys, values):
        if key is not None:
            lines.setdefault(key, []).append(value)
    for key, several in lines.items():
        environ[key] = joints.get(key, ",").join(several)


def unescape(path: str) -> str:
    """A raw path without its percent-escapes, each byte a character (PEP 3333, "Unicode
    Issues")."""
    return unquote(path, "latin-1")
