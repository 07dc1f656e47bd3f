"""--workers: the settings as gunicorn has them, whose arbiter then runs MeinheldWorker.

What gunicorn has no setting for (most limits, static files, requests that wait) is set here as for
one process, before it forks: the workers inherit it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from meinheld._addresses import SYSTEMD, parse_address
from meinheld._application import StartError, load_app, one_line
from meinheld._settings import Settings

if TYPE_CHECKING:
    from gunicorn.app.base import BaseApplication

WORKER: Final = "meinheld.gmeinheld.MeinheldWorker"

# The combined format in gunicorn's atoms. Its own logger makes the lines there.
_COMBINED: Final = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def check_workers(settings: Settings) -> None:
    """Raises StartError for settings with which gunicorn can't serve, and if it is not
    installed."""
    try:
        import gunicorn
        from gunicorn.config import Config
    except ImportError:
        raise StartError(
            "--workers takes gunicorn, which is not installed: pip install 'meinheld[gunicorn]'"
        ) from None
    if settings.access_log is not None and settings.access_log_format == "json":
        raise StartError("--workers has no --access-log-format json: name its atoms, as '%(h)s'")
    systemd = [parse_address(bind) is SYSTEMD for bind in settings.bind]
    if any(systemd) and not all(systemd):
        raise StartError("with --workers, --bind fd://systemd stands alone")
    config = Config()
    for name, value in gunicorn_settings(settings, gunicorn.version_info).items():
        try:
            config.set(name, value)
        except Exception as exc:  # 23 has no networks in its lists of addresses
            taker = f"gunicorn {gunicorn.__version__}"
            raise StartError(f"{taker} does not take {name} {value!r}: {one_line(exc)}") from exc


def gunicorn_settings(settings: Settings, version: tuple[int, ...]) -> dict[str, Any]:
    """What gunicorn of that version is told, by its names. Its times are whole seconds, so a part
    of one counts as one. It looks for the sockets of LISTEN_FDS by itself."""
    format = settings.access_log_format
    told: dict[str, Any] = {
        "worker_class": WORKER,
        "workers": settings.workers,
        "threads": max(1, settings.threads),
        "bind": [bind for bind in settings.bind if parse_address(bind) is not SYSTEMD],
        "backlog": settings.backlog,
        "worker_connections": settings.max_connections,
        "keepalive": math.ceil(settings.keepalive_timeout),
        "graceful_timeout": math.ceil(settings.graceful_timeout),
        "limit_request_line": settings.max_request_line,
        "limit_request_fields": settings.max_fields,
        "reload": settings.reload,
        "accesslog": settings.access_log,
        "access_log_format": _COMBINED if format == "combined" else format,
        "forwarded_allow_ips": ",".join(settings.forwarded_allow_ips),
        "proxy_allow_ips": ",".join(settings.proxy_allow_ips),
        "proxy_protocol": settings.proxy_protocol,
        "proc_name": settings.app,
    }
    if version < (25,):  # on or off, and on is both versions
        told["proxy_protocol"] = settings.proxy_protocol != "off"
    return told


def run_workers(settings: Settings) -> None:
    """Serves by gunicorn; returns, or raises SystemExit with gunicorn's exit status, at its end."""
    import gunicorn
    from gunicorn.app.base import BaseApplication

    told = gunicorn_settings(settings, gunicorn.version_info)
    _application(BaseApplication, settings, told).run()


def _application(
    base: type[BaseApplication], settings: Settings, told: dict[str, Any]
) -> BaseApplication:
    """gunicorn's idea of an application, whose class is there only if gunicorn is."""

    class Served(base):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in told.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            from gunicorn.errors import AppImportError

            assert settings.app is not None
            try:
                return load_app(settings.app)
            except StartError as exc:
                raise AppImportError(str(exc)) from exc

    return Served(prog="meinheld")
