"""The command line: reads settings, finds an application by its name, listens, says where, serves.

Exit statuses: 0 when it was asked to stop, by SIGTERM or SIGINT, and has; 1 when it could not
start, and from --check if there is something to mend; 2 for settings that can't be. What is wrong
is said in one line each on stderr. Tracebacks of the application's requests go to the error log,
not through here."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from meinheld import __version__, _tasks, server
from meinheld._application import StartError, load_app, one_line
from meinheld._attendant import Attendant, say
from meinheld._checkup import findings
from meinheld._configuration import Configuration, SettingsError, configure, flag_parser
from meinheld._listening import Listening, is_handed
from meinheld._reload import Reloader
from meinheld._sdnotify import Notifier
from meinheld._settings import Settings, parse_static
from meinheld._workers import check_workers, run_workers


def _apply(settings: Settings) -> None:
    """Sets what server has setters for. Raises StartError."""
    server.set_limits(**settings.limits())
    server.set_backlog(settings.backlog)
    server.set_graceful_timeout(settings.graceful_timeout)
    server.set_max_suspended(settings.max_suspended)
    server.set_stream_request_body(settings.stream_request_body)
    server.set_client_body_buffer_size(settings.client_body_buffer_size)
    server.set_block_warning(settings.block_warning)
    _trust_proxies(settings)
    for text in settings.static:
        prefix, directory = parse_static(text)
        try:
            server.static(prefix, directory)
        except OSError as exc:
            raise StartError(f"--static {text!r}: {exc.strerror or one_line(exc)}") from exc
    if not settings.workers:  # else the lines are gunicorn's
        try:
            server.set_access_log(settings.access_log, settings.access_log_format)
        except OSError as exc:
            reason = exc.strerror or one_line(exc)
            raise StartError(f"--access-log {settings.access_log!r}: {reason}") from exc


def _trust_proxies(settings: Settings) -> None:
    if settings.proxy_protocol != "off":
        server.set_proxy_protocol(settings.proxy_protocol, allow_ips=settings.proxy_allow_ips)
    if settings.forwarded_allow_ips:
        server.set_forwarded(allow_ips=settings.forwarded_allow_ips)


def _with_handed(configuration: Configuration) -> Sequence[str]:
    """Where to listen: systemd's sockets, if there are some and nothing else was said."""
    if "bind" not in configuration.origins and is_handed(os.environ):
        return ("fd://systemd",)
    return configuration.settings.bind


def _load(settings: Settings, reloader: Reloader | None) -> object:
    """The application; None if a reloader has been told to stop, or to start anew, before there was
    one. Raises StartError."""
    assert settings.app is not None
    try:
        return load_app(settings.app)
    except StartError as exc:
        if reloader is None:
            raise
        reloader.take_signals()
        say(f"{exc}; waiting for a change")
        reloader.wait()
        return None


def _serve(configuration: Configuration, argv: Sequence[str] | None) -> None:
    """Serves by this process. Raises StartError."""
    settings = configuration.settings
    reloader = Reloader(settings.reload_dir) if settings.reload else None
    listening = Listening(_with_handed(configuration), settings.backlog, os.environ)
    try:
        app = _load(settings, reloader)
        if app is not None:
            _run(app, settings, listening, reloader)
        if reloader is not None and reloader.is_due:
            say(f"{reloader.changed} has changed: starting anew")
            reloader.restart(listening, argv)
    finally:
        listening.close()


def _run(app: object, settings: Settings, listening: Listening, reloader: Reloader | None) -> None:
    """Serves until it is told to stop, or, with a reloader, to start anew."""
    serves = f"{settings.app} on {listening}"
    attendant = Attendant(Notifier(os.environ), settings.graceful_timeout, serves)
    _tasks.attendants.append(attendant.attend)
    if reloader is not None:
        reloader.take_signals()
        _tasks.attendants.append(reloader.attend)
    else:
        _tasks.attendants.append(lambda loop: loop.at_drain.append(listening.close))
    listening.serve()
    try:
        server.run(app, threads=settings.threads)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        pass  # it was asked to stop, and has
    except (OSError, RuntimeError, ValueError) as exc:
        if attendant.ready:
            raise
        raise StartError(f"cannot serve {settings.app!r}: {one_line(exc)}") from exc


def _check(flags: argparse.Namespace) -> int:
    """Prints what to mend; returns the exit status."""
    try:
        configuration = configure(flags, os.environ)
    except SettingsError as exc:
        found = exc.problems
    else:
        found = []
        try:
            _prepare(configuration.settings)
        except StartError as exc:
            found.append(str(exc))
        found.extend(findings(configuration, os.environ))
    lines = found or ["nothing to mend"]
    _print("".join(f"{line}\n" for line in lines))
    return 1 if found else 0


def _print(text: str) -> None:
    """What was asked for, on standard output. Raises StartError if that can't be written."""
    if sys.stdout is None:
        raise StartError("cannot write to standard output: it is closed")
    try:
        # A file of its own: the interpreter would try once more at its end what this can't write.
        with open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as out:
            out.write(text)
    except OSError as exc:
        raise StartError(f"cannot write to standard output: {one_line(exc)}") from exc


def _prepare(settings: Settings) -> None:
    """All that comes before listening. Raises StartError."""
    # An installed script has its own directory there, and the app is where the user is.
    sys.path.insert(0, os.getcwd())
    if settings.workers:
        check_workers(settings)
    _apply(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line argv, sys.argv's by default; returns the exit status."""
    try:
        return _do(flag_parser(__version__).parse_args(argv), argv)
    except SettingsError as exc:
        for line in exc.problems:
            say(line)
        return 2
    except StartError as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:  # before it served: as if nobody had caught it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise


def _do(flags: argparse.Namespace, argv: Sequence[str] | None) -> int:
    """What the flags say; returns the exit status. Raises SettingsError and StartError."""
    if flags.check:
        return _check(flags)
    configuration = configure(flags, os.environ)
    if flags.print_config:
        _print(configuration.as_toml())
        return 0
    if configuration.settings.app is None:
        hint = f"; --access-log took {flags.access_log!r}" if flags.access_log else ""
        raise SettingsError([f"there is no application: MODULE:APP is missing{hint}"])
    _prepare(configuration.settings)
    if configuration.settings.workers:
        run_workers(configuration.settings)
    else:
        _serve(configuration, argv)
    return 0
