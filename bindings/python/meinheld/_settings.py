"""The settings of the command line: one dataclass, from which come its flags and their help, the
variables, the keys of a file, and docs/settings.md.

A field's metadata say all that these need: what it is (help), where it belongs (group), and what it
may be: count() and seconds() of _limits.py have a range, text() and texts() a check, choice() a
list. The limits themselves are inherited, with their ranges."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final, Optional, Union

from meinheld._accesslog import parse_format
from meinheld._addresses import parse_address
from meinheld._limits import Limits, check_number, count, seconds
from meinheld._networks import parse_network
from meinheld._static import check_prefix

Value = Union[None, bool, int, float, str, tuple[str, ...]]
Check = Optional[Callable[[str], object]]

SERVING: Final = "Serving"
CALLING: Final = "The application"
LOGGING: Final = "The access log"
PROXIES: Final = "Behind proxies"
LIMITS: Final = "Limits"

# Of MODULE:APP, APP is a dotted name, which () after it calls.
_SPEC: Final = re.compile(r"(?P<module>[^\s:()]+)(?::(?P<name>[^\s:()]+)(?P<call>\(\))?)?")


def parse_spec(text: str) -> tuple[str, str | None, bool]:
    """Module, attribute (None: that is to be found) and whether it is a factory, to be called, of
    MODULE:APP. Raises ValueError saying what it is not."""
    match = _SPEC.fullmatch(text)
    if (
        not match
        or not all(match["module"].split("."))
        or not all((match["name"] or "x").split("."))
    ):
        raise ValueError("not of the form MODULE:APP, or MODULE:FACTORY()")
    return match["module"], match["name"], match["call"] is not None


def parse_static(text: str) -> tuple[str, str]:
    """Prefix and directory of PREFIX=DIRECTORY. Raises ValueError saying what it is not."""
    prefix, equals, directory = text.partition("=")
    if not equals or not directory:
        raise ValueError("not of the form PREFIX=DIRECTORY")
    check_prefix(prefix)
    return prefix, directory


def _check_network(text: str) -> None:
    try:
        if text != "*":
            parse_network(text)
    except ValueError as exc:
        raise ValueError(f"neither an address, a network nor *: {exc}") from None


def _check_format(text: str) -> None:
    try:
        parse_format(text)
    except ValueError as exc:  # which names the format
        raise ValueError(str(exc).removeprefix(f"access log format {text!r}: ")) from None


def _field(kind: str, default: Value, help: str, group: str, **more: object) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help, "group": group, **more})


def _text(
    default: str | None, help: str, group: str, metavar: str, check: Check = None, **more: object
) -> Any:
    return _field("text", default, help, group, metavar=metavar, check=check, **more)


def _texts(
    default: tuple[str, ...], help: str, group: str, metavar: str, check: Check = None
) -> Any:
    return _field("texts", default, help, group, metavar=metavar, check=check)


def _switch(help: str, group: str) -> Any:
    return _field("switch", False, help, group)


def _choice(default: str, choices: tuple[str, ...], help: str, group: str) -> Any:
    return _field("choice", default, help, group, choices=choices)


@dataclass(frozen=True)
class Settings(Limits):
    """What a process is to serve, and how."""

    app: str | None = _text(
        None,
        "the application, a dotted name; without :APP it is the module's application, else its "
        "app; MODULE:FACTORY() is what that returns",
        SERVING,
        "MODULE:APP",
        parse_spec,
    )
    bind: tuple[str, ...] = _texts(
        ("127.0.0.1:8000",),
        "where to listen: HOST:PORT, [IPV6]:PORT, :PORT (every IPv4 address), unix:PATH, fd://N (a "
        "descriptor that listens already) or fd://systemd (those of LISTEN_FDS, which are also "
        "taken where nothing is said); port 0 lets the kernel choose",
        SERVING,
        "ADDRESS",
        parse_address,
    )
    backlog: int = count(
        1024,
        1,
        2**31 - 1,
        "connections that may wait to be accepted; the kernel has a limit of its own, "
        "net.core.somaxconn",
        group=SERVING,
    )
    workers: int = count(
        0,
        0,
        1024,
        "serve by so many processes of gunicorn's, which comes with meinheld[gunicorn]; 0: by this "
        "process",
        group=SERVING,
    )
    graceful_timeout: float = seconds(
        30,
        "seconds that SIGTERM gives what runs to be finished, before it is cut off; 0: any time",
        least=0,
        group=SERVING,
    )
    reload: bool = _switch(
        "start anew when a Python file changes, for development; takes meinheld[reload]", SERVING
    )
    reload_dir: tuple[str, ...] = _texts(
        (".",), "the directories that --reload watches", SERVING, "DIRECTORY"
    )
    static: tuple[str, ...] = _texts(
        (),
        "serve the files of DIRECTORY at PREFIX and below it, without the application",
        SERVING,
        "PREFIX=DIRECTORY",
        parse_static,
    )
    threads: int = count(
        0,
        0,
        4096,
        "call the application in so many threads, for one that blocks; 0: in the server's own",
        group=CALLING,
    )
    max_suspended: int = count(
        0,
        0,
        2**32 - 1,
        "requests that may wait for an event at once; one more: 503; 0: any number",
        group=CALLING,
    )
    stream_request_body: bool = _switch(
        "call the application before a request's body has come", CALLING
    )
    client_body_buffer_size: int = count(
        1024 * 1024,
        0,
        2**63 - 1,
        "bytes of a body above which it is kept in a temporary file",
        group=CALLING,
    )
    block_warning: float = seconds(
        0,
        "seconds that a request may hold the server's thread before its stack is logged; 0: any",
        least=0,
        group=CALLING,
    )
    access_log: str | None = _text(
        None,
        "append a line to FILE for each request, when its response has ended; - is standard output",
        LOGGING,
        "FILE",
        alone="-",
    )
    access_log_format: str = _text(
        "combined",
        "combined, json, or a %-format of gunicorn's atoms, as '%(h)s \"%(r)s\" %(s)s'",
        LOGGING,
        "FORMAT",
        _check_format,
    )
    proxy_protocol: str = _choice(
        "off",
        ("off", "v1", "v2", "auto"),
        "the version of the PROXY protocol by which each connection begins",
        PROXIES,
    )
    proxy_allow_ips: tuple[str, ...] = _texts(
        ("127.0.0.1", "::1"),
        "addresses and networks that may speak the PROXY protocol; *: all",
        PROXIES,
        "NETWORK",
        _check_network,
    )
    forwarded_allow_ips: tuple[str, ...] = _texts(
        (),
        "addresses and networks of proxies whose X-Forwarded-Proto and the like are believed; *: "
        "all",
        PROXIES,
        "NETWORK",
        _check_network,
    )

    def limits(self) -> dict[str, float]:
        """Those of server.set_limits()."""
        return {limit.name: getattr(self, limit.name) for limit in fields(Limits)}


class Setting:
    """A field of Settings, for whoever reads, shows or explains values of it."""

    def __init__(self, source: Field[Any]) -> None:
        data = source.metadata
        self.name = source.name
        self.default: Value = source.default  # type: ignore[assignment]
        self.help: str = data["help"]
        self.group: str = data.get("group", LIMITS)
        self.is_number = "time" in data
        self.kind: str = data.get("kind", "seconds" if data.get("time") else "count")
        self.metavar: str | None = data.get("metavar", "SECONDS" if data.get("time") else "N")
        self.choices: tuple[str, ...] = data.get("choices", ())
        self.alone: str | None = data.get("alone")  # what the flag means without a value
        self._check: Check = data.get("check")
        self._range = data

    @property
    def flag(self) -> str:
        """--max-body; the application has none."""
        return "MODULE:APP" if self.name == "app" else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """MEINHELD_MAX_BODY."""
        return "MEINHELD_" + self.name.upper()

    @property
    def allowed(self) -> str:
        """What a value may be."""
        if self.is_number:
            unit = "number of seconds" if self.kind == "seconds" else "integer"
            article = "a" if self.kind == "seconds" else "an"
            return f"{article} {unit} from {self._range['least']} to {self._range['most']}"
        if self.kind == "switch":
            return "true or false"
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        return "a text" if self.kind == "text" else "a list of texts"

    def from_text(self, text: str) -> Value:
        """The value that a flag or a variable says. Raises ValueError saying what it is not."""
        if self.kind == "texts":
            return self.check(tuple(part.strip() for part in text.split(",")))
        if self.kind == "switch":
            text = {"1": "true", "0": "false"}.get(text, text)
            return self.check({"true": True, "false": False}.get(text))
        if not self.is_number:
            return self.check(text)
        if re.fullmatch("[0-9]{1,20}", text):
            return self.check(int(text))
        decimal = self.kind == "seconds" and re.fullmatch(r"[0-9]{1,20}\.[0-9]{1,20}", text)
        return self.check(float(text) if decimal else text)

    def from_file(self, value: object) -> Value:
        """The value that a key of a file has. Raises ValueError likewise."""
        return self.check(tuple(value) if isinstance(value, list) else value)

    def check(self, value: object) -> Value:
        """value, if it may be one. Raises ValueError saying what it is not."""
        refusal = ValueError(f"not {self.allowed}")
        if self.is_number:
            try:
                check_number(self.name, value, self._range)
            except (TypeError, ValueError):
                raise refusal from None
        elif self.kind == "switch":
            if not isinstance(value, bool):
                raise refusal
        elif self.kind == "texts":
            if not isinstance(value, tuple):
                raise refusal
            for part in value:
                self._check_text(part, refusal)
        else:
            self._check_text(value, refusal)
        return value  # type: ignore[return-value]

    def _check_text(self, text: object, refusal: ValueError) -> None:
        if not isinstance(text, str) or (self.choices and text not in self.choices):
            raise refusal
        if not text:
            raise ValueError("empty")
        try:
            text.encode()
        except UnicodeEncodeError:  # os.fsdecode()'s, of other bytes
            raise ValueError("not in UTF-8") from None
        if self._check is not None:
            self._check(text)


def _in_groups() -> dict[str, Setting]:
    found = [Setting(source) for source in fields(Settings)]
    groups = (SERVING, CALLING, LOGGING, PROXIES, LIMITS)
    found.sort(key=lambda setting: groups.index(setting.group))  # stable
    return {setting.name: setting for setting in found}


# By name, in the order of their groups.
SETTINGS: Final = _in_groups()
