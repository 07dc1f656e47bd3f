"""--check: what to mend before settings are served with, in the settings, the application and this
machine."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from meinheld._addresses import SYSTEMD, parse_address
from meinheld._application import StartError, load_app
from meinheld._configuration import Configuration, close_to_variables
from meinheld._settings import Settings

# Descriptors of a process that are no connections: listening sockets, logs, the interpreter's, and
# some of the application's.
_OTHERS: Final = 64

_SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")


def _application(settings: Settings) -> Iterator[str]:
    if settings.app is None:
        yield "there is no application: MODULE:APP, MEINHELD_APP or the key app names it"
        return
    try:
        load_app(settings.app)
    except StartError as exc:
        yield str(exc)


def _descriptors(settings: Settings) -> Iterator[str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= settings.max_connections + _OTHERS:
        return
    most = max(1, soft - _OTHERS)
    raised = "" if hard in (soft, resource.RLIM_INFINITY) else f", which may be {hard}"
    yield (
        f"max_connections is {settings.max_connections}, but this process may have {soft} open "
        f"files (ulimit -n{raised}): raise that (systemd: LimitNOFILE=), or set max_connections to "
        f"{most} at the most"
    )


def _backlog(settings: Settings) -> Iterator[str]:
    opened = [parse_address(bind) for bind in settings.bind]
    if all(endpoint is SYSTEMD or isinstance(endpoint, int) for endpoint in opened):
        return  # who listens has chosen theirs
    try:
        most = int(_SOMAXCONN.read_text())
    except (OSError, ValueError):  # no procfs: nothing is known
        return
    if settings.backlog > most:
        yield (
            f"backlog is {settings.backlog}, but the kernel's limit is {most}: raise that (sysctl "
            f"net.core.somaxconn={settings.backlog}), or set backlog to {most}"
        )


def findings(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[str]:
    """What to mend, each in a line. Imports the application."""
    for name, near in close_to_variables(environ):
        yield f"{name} is no setting: is {near} meant?"
    yield from _application(configuration.settings)
    yield from _descriptors(configuration.settings)
    yield from _backlog(configuration.settings)
