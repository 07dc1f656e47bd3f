"""The command line: finds an app by its name, listens, says where, serves.

Whatever keeps it from serving is said in one line on stderr, with exit status 1; a command line
that argparse refuses exits with 2, as usual. Tracebacks of the app's requests go to the error log,
not through here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Callable, Union

from meinheld import __version__, server

Address = Union[tuple[str, int], str]

DEFAULT_BIND = "127.0.0.1:8000"
DEFAULT_NAMES = ("application", "app")
FIRST_FREE_PORT = 1024  # of ip(7), unless net.ipv4.ip_unprivileged_port_start says otherwise


class UsageError(Exception):
    """Something the user has to mend; its text is the one line to print."""


def parse_address(text: str) -> Address:
    """What a --bind names: HOST:PORT, [IPV6]:PORT, :PORT (every IPv4 address), or unix:PATH.

    Raises UsageError for anything else.
    """
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if not path:
            raise UsageError(f"--bind {text!r}: no path after unix:")
        return path
    host, colon, port = text.rpartition(":")
    if not colon:
        raise UsageError(f"--bind {text!r}: neither HOST:PORT nor unix:PATH")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host or "[" in host or "]" in host:
        raise UsageError(f"--bind {text!r}: an IPv6 address is written [ADDRESS]:PORT")
    # str.isdigit alone takes digits of every script, and int takes signs, spaces and underscores.
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"--bind {text!r}: the port is no number from 0 to 65535")
    return host or "0.0.0.0", int(port)


def one_line(exc: BaseException) -> str:
    """An exception as "Type: message", line ends and runs of blanks made one blank."""
    text = str(exc.msg if isinstance(exc, SyntaxError) else exc)
    return f"{type(exc).__name__}: {' '.join(text.split())}" if text else type(exc).__name__


def _place(exc: BaseException, tb: TracebackType | None) -> str | None:
    """Where an exception of an import comes from; None if no file's code was running."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    own = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(tb)
        if frame.filename not in own and not frame.filename.startswith("<frozen importlib")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # SystemExit too: a module that exits can't be served
        place = _place(exc, exc.__traceback__)
        if place is None and isinstance(exc, ModuleNotFoundError):
            # Its own import found no file. Anything that it imports in turn has a place.
            reason = f"there is no module {exc.name!r}"
        else:
            reason = one_line(exc) + (f" ({place})" if place else "")
        raise UsageError(f"cannot import {name!r}: {reason}") from exc


def _default_name(module_name: str, module: Any) -> str:
    for name in DEFAULT_NAMES:
        try:
            getattr(module, name)
        except AttributeError:
            continue
        except Exception as exc:
            reason = one_line(exc)
            raise UsageError(f"module {module_name!r}, attribute {name!r}: {reason}") from exc
        return name
    names = " or ".join(repr(name) for name in DEFAULT_NAMES)
    raise UsageError(f"module {module_name!r} has no attribute {names}")


def load_app(spec: str) -> Callable[..., Any]:
    """The app that MODULE:APP names; APP may be dotted. Without it: "application", else "app".

    Raises UsageError when the module can't be imported, lacks the attribute, or it is not callable.
    """
    module_name, colon, attributes = spec.partition(":")
    if not all(module_name.split(".")) or (colon and not all(attributes.split("."))):
        raise UsageError(f"{spec!r} is not of the form MODULE:APP")
    module = _import(module_name)
    if not colon:
        attributes = _default_name(module_name, module)
    app = module
    reached = f"module {module_name!r}"
    for name in attributes.split("."):
        try:
            app = getattr(app, name)
        except AttributeError:
            raise UsageError(f"{reached} has no attribute {name!r}") from None
        except Exception as exc:  # a module or a class may make its attributes when asked for
            raise UsageError(f"{reached}, attribute {name!r}: {one_line(exc)}") from exc
        reached = f"{reached}, {name!r}"
    if not callable(app):
        kind = type(app).__name__
        raise UsageError(f"'{module_name}:{attributes}' is not callable: it is of type {kind}")
    return app  # type: ignore[no-any-return]


def _shown(address: Address) -> str:
    """An address in the words of --bind."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(address: Address) -> str:
    """Listens at address; returns where that is, with the port that the kernel chose for port 0."""
    try:
        bound = server.listen(address)
    except (OSError, ValueError) as exc:  # ValueError: a host name that no resolver takes
        reason = getattr(exc, "strerror", None) or one_line(exc)
        if isinstance(exc, PermissionError) and not isinstance(address, str):
            reason += f" (a port below {FIRST_FREE_PORT} takes root or CAP_NET_BIND_SERVICE)"
        raise UsageError(f"cannot listen on {_shown(address)}: {reason}") from exc
    if isinstance(address, str):
        return _shown(address)
    return f"http://{_shown((address[0], bound))}"


def _set_access_log(file: str | None, format: str) -> None:
    try:
        server.set_access_log(file, format)
    except OSError as exc:
        raise UsageError(f"--access-log {file!r}: {exc.strerror or one_line(exc)}") from exc
    except ValueError as exc:
        raise UsageError(f"--access-log-format: {exc}") from exc


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads")
    return int(text)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="meinheld", description="Serves a WSGI app.")
    parser.add_argument(
        "app",
        nargs="?",
        metavar="MODULE:APP",
        help="the app, a dotted name; without :APP it is the module's application, else its app",
    )
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        action="append",
        help="HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH; may be given several times; port 0 lets "
        f"the kernel choose (default: {DEFAULT_BIND})",
    )
    parser.add_argument(
        "--access-log",
        metavar="FILE",
        nargs="?",
        const="-",
        help="append a line to FILE for each request when its response has ended; - or nothing is "
        "standard output (default: no log). MODULE:APP goes before --access-log alone",
    )
    parser.add_argument(
        "--access-log-format",
        metavar="FORMAT",
        help="combined, json, or a %%-format of gunicorn's atoms, as '%%(h)s \"%%(r)s\" %%(s)s' "
        "(default: combined)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_count,
        default=0,
        help="call the app in N threads, for one that blocks (default: 0, in the server's own)",
    )
    parser.add_argument("--version", action="version", version=f"meinheld {__version__}")
    arguments = parser.parse_args(argv)
    if arguments.app is None:
        hint = f"; --access-log took {arguments.access_log!r}" if arguments.access_log else ""
        parser.error(f"the following arguments are required: MODULE:APP{hint}")
    if arguments.access_log_format is not None and arguments.access_log is None:
        parser.error("--access-log-format is of no use without --access-log")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line argv, sys.argv's by default; returns the exit status."""
    arguments = _arguments(argv)
    try:
        addresses = [parse_address(text) for text in arguments.bind or [DEFAULT_BIND]]
        # An installed script has its own directory there, and the app is where the user is.
        sys.path.insert(0, os.getcwd())
        app = load_app(arguments.app)
        _set_access_log(arguments.access_log, arguments.access_log_format or "combined")
        urls = ", ".join([_listen(address) for address in addresses])
    except UsageError as exc:
        print(f"meinheld: {exc}", file=sys.stderr)
        return 1
    stop = "stop with Ctrl-C"
    print(f"meinheld {__version__} serves {arguments.app} on {urls} - {stop}", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):  # it was asked to stop, and has
        server.run(app, threads=arguments.threads)
    return 0
