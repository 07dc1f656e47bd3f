"""What a proxy in front says of its client's request: whether that came by TLS, and where the
application is mounted. It counts from the peers alone that are trusted to say it, since anybody can
send such a field.

The rules are gunicorn's (secure_scheme_headers, forwarder_headers, header_map,
forwarded_allow_ips). A field whose name has "_" in it would be taken for one with "-" (row 26 of
docs/http.md), so it is dropped, or refused, but from a trusted peer that is to send it.

Where this is off, nothing here takes part in a request. Where it is on, the names that matter are
hidden in environ under keys that no field has, until the peer is known, just before the application
is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Callable, Final

from meinheld._environ import JOINTS, Application, Environ, field_key, unescape
from meinheld._networks import Network, parse_network

Complain = Callable[[str, None], None]  # an error log

# gunicorn's defaults, by which a proxy says that its client came by TLS.
SECURE_SCHEME_HEADERS: Final = {
    "X-FORWARDED-PROTOCOL": "ssl",
    "X-FORWARDED-PROTO": "https",
    "X-FORWARDED-SSL": "on",
}
FORWARDER_HEADERS: Final = ("SCRIPT_NAME", "PATH_INFO")
ALLOW_IPS: Final = ("127.0.0.1", "::1")

_HEADER_MAPS: Final = ("drop", "refuse")

# What a hidden key begins with: no field and no variable does.
_HIDDEN: Final = "\0"

# What stands between the lines of a repeated field until they have been looked at.
_LINES: Final = "\n"

_BAD_REQUEST: Final = ("400 Bad Request", b"Bad Request\n")
_FAILED: Final = ("500 Internal Server Error", b"Internal Server Error\n")

_Answer = tuple[str, bytes]


class Forwarded:
    """Who is trusted, and to say what, of one run or of several."""

    def __init__(
        self,
        allow_ips: Iterable[str],
        secure_scheme_headers: Mapping[str, str],
        forwarder_headers: Iterable[str],
        header_map: str,
    ) -> None:
        """As server.set_forwarded(). Raises TypeError and ValueError, naming the argument."""
        if header_map not in _HEADER_MAPS:
            raise ValueError(f"header_map must be drop or refuse, not {header_map!r}")
        self._refuses = header_map == "refuse"
        texts = _texts("allow_ips", allow_ips)
        self._anybody = "*" in texts
        self._networks = [_network(text) for text in texts if text != "*"]
        self._passed = {name.upper() for name in _texts("forwarder_headers", forwarder_headers)}
        self._schemes = _schemes(secure_scheme_headers)
        # Of the names with "_", which are wanted at all.
        self._all = self._refuses or "*" in self._passed
        hidden = [key[1:] for key, _ in self._schemes if key.startswith(_HIDDEN)]
        self._kept = self._passed.union(hidden)
        self._keys = (*(key for key, _ in self._schemes), *(_HIDDEN + name for name in self._kept))
        self.joints = {**JOINTS, **{key: _LINES for key, _ in self._schemes}}
        self.trusts = lru_cache(maxsize=1024)(self._trusts)

    def key(self, name: str) -> str | None:
        """environ's key for a field, as field_key(), or a hidden one."""
        if "_" in name and (self._all or name.upper() in self._kept):
            return _HIDDEN + name.upper()
        return field_key(name)

    def wrap(self, app: Application, log: Complain) -> Application:
        """app, with environ put right before it is called. log hears of a proxy whose SCRIPT_NAME
        is wrong."""

        keys, all_names = self._keys, self._all

        def forwarded(environ: Environ, start_response: Any) -> Iterable[bytes]:
            for key in keys:
                if key in environ:
                    break
            else:
                if not all_names:  # nothing is said, as of most requests
                    return app(environ, start_response)
            answer = self._apply(environ, log)
            if answer is None:
                return app(environ, start_response)
            start_response(answer[0], [("Content-Type", "text/plain")])
            return [answer[1]]

        return forwarded

    def _trusts(self, address: str) -> bool:
        """Whether a peer may say it: one of a unix socket, which has no address, always."""
        if self._anybody or not address:
            return True
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
        return any((mapped or ip) in network for network in self._networks)

    def _apply(self, environ: Environ, log: Complain) -> _Answer | None:
        """Puts environ right; returns what is to be answered if that can't be."""
        trusted = self.trusts(_peer(environ))
        scheme: str | None = None
        for key, secure in self._schemes:
            value = environ.get(key)
            if value is None:
                continue
            lines = value.split(_LINES)
            if len(lines) > 1:
                environ[key] = ",".join(lines)
            if not trusted:
                continue
            for line in lines:
                said = "https" if line == secure else "http"
                if scheme is None:
                    scheme = said
                elif scheme != said:
                    return _BAD_REQUEST
        if scheme is not None:
            environ["wsgi.url_scheme"] = scheme
        return self._uncover(environ, trusted, log)

    def _uncover(self, environ: Environ, trusted: bool, log: Complain) -> _Answer | None:
        """Takes the hidden names out of environ, or gives them their place in it."""
        if self._all:
            names = [key[1:] for key in environ if key.startswith(_HIDDEN)]
        else:
            names = [name for name in self._kept if _HIDDEN + name in environ]
        for name in names:
            value = environ.pop(_HIDDEN + name)
            if not trusted or not (name in self._passed or "*" in self._passed):
                if self._refuses:
                    return _BAD_REQUEST
                continue
            key = f"HTTP_{name}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
            if name == "SCRIPT_NAME" and not _mount(environ, value):
                log(
                    f"SCRIPT_NAME {value!r} of the proxy {_peer(environ) or 'at a unix socket'}"
                    f" is not what the path {environ['RAW_URI']!r} begins with",
                    None,
                )
                return _FAILED
        return None


def _peer(environ: Environ) -> str:
    """The address of who has sent the request itself, whoever that is for."""
    address: str = environ["REMOTE_ADDR"]
    return address


def _mount(environ: Environ, script: str) -> bool:
    """Takes script off the path; False if that does not begin so."""
    script = script.rstrip("/")
    target: str = environ["RAW_URI"]
    path = environ["PATH_INFO"]
    if target.startswith("/"):  # all of it, whatever SCRIPT_NAME the deployer has set
        path = unescape(target.partition("?")[0])
    if not path.startswith(script) or path[len(script) : len(script) + 1] not in ("", "/"):
        return False
    environ["SCRIPT_NAME"] = script
    environ["PATH_INFO"] = path[len(script) :]
    return script == "" or script[0] == "/"


def _texts(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be an iterable of str, not the str {values!r}")
    texts = list(values)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be an iterable of str: {text!r}")
    return texts


def _network(text: str) -> Network:
    try:
        return parse_network(text)
    except ValueError as exc:
        raise ValueError(f"allow_ips: {text!r} is no address, network or *: {exc}") from None


def _schemes(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """environ's keys of the fields that tell of TLS, with the values that do."""
    schemes = []
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"secure_scheme_headers holds str alone: {name!r}, {value!r}")
        key: str | None = _HIDDEN + name.upper() if "_" in name else field_key(name)
        if not key:
            raise ValueError(f"secure_scheme_headers: environ has no field {name!r}")
        schemes.append((key, value))
    return schemes
