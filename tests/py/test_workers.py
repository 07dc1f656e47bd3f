"""--workers: what gunicorn is told, by each of its releases' own rules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commandline import refusal, without
from meinheld._application import StartError
from meinheld._settings import Settings
from meinheld._workers import WORKER, check_workers, gunicorn_settings

gunicorn = pytest.importorskip("gunicorn")

EVERYTHING = Settings(
    app="shop:app",
    bind=("127.0.0.1:1", "unix:/run/x", "[::1]:2", "fd://5"),
    workers=3,
    threads=4,
    backlog=7,
    max_connections=50,
    keepalive_timeout=2.5,
    graceful_timeout=0.1,
    max_request_line=4000,
    max_fields=30,
    reload=True,
    access_log="-",
    forwarded_allow_ips=("10.0.0.1", "::1"),
    proxy_allow_ips=("*",),
    proxy_protocol="v2",
)


def test_each_setting_that_gunicorn_has_is_told_by_its_name() -> None:
    assert gunicorn_settings(EVERYTHING, (27, 0, 1)) == {
        "worker_class": WORKER,
        "workers": 3,
        "threads": 4,
        "bind": ["127.0.0.1:1", "unix:/run/x", "[::1]:2", "fd://5"],
        "backlog": 7,
        "worker_connections": 50,
        "keepalive": 3,
        "graceful_timeout": 1,
        "limit_request_line": 4000,
        "limit_request_fields": 30,
        "reload": True,
        "accesslog": "-",
        "access_log_format": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "forwarded_allow_ips": "10.0.0.1,::1",
        "proxy_allow_ips": "*",
        "proxy_protocol": "v2",
        "proc_name": "shop:app",
    }


def test_before_gunicorn_25_the_proxy_protocol_is_on_or_off() -> None:
    assert gunicorn_settings(EVERYTHING, (23, 0, 0))["proxy_protocol"] is True
    assert gunicorn_settings(Settings(), (23, 0, 0))["proxy_protocol"] is False


def test_a_format_of_ones_own_is_passed_on_and_systemds_sockets_are_left_to_gunicorn() -> None:
    told = gunicorn_settings(
        Settings(access_log="x", access_log_format="%(h)s", bind=("fd://systemd",)), (27,)
    )
    assert (told["access_log_format"], told["bind"]) == ("%(h)s", [])


@pytest.mark.parametrize("settings", [EVERYTHING, Settings()], ids=["everything", "defaults"])
def test_gunicorn_takes_all_that_it_is_told(settings: Settings) -> None:
    from gunicorn.config import Config

    config = Config()
    told = gunicorn_settings(settings, gunicorn.version_info)
    for name, value in told.items():
        config.set(name, value)
    assert config.workers == settings.workers
    assert config.settings["worker_class"].get() == WORKER
    assert config.graceful_timeout >= settings.graceful_timeout


def test_what_gunicorn_can_not_do_is_refused() -> None:
    with pytest.raises(StartError, match="--workers has no --access-log-format json"):
        check_workers(Settings(workers=1, access_log="-", access_log_format="json"))
    with pytest.raises(StartError, match="--bind fd://systemd stands alone"):
        check_workers(Settings(workers=1, bind=("fd://systemd", ":1")))
    check_workers(Settings(workers=1, bind=("fd://systemd",)))


def test_what_the_installed_gunicorn_does_not_take_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(value: str) -> str:
        if value == "10.0.0.1,::1":
            raise ValueError("no\nway")
        return value

    from gunicorn.config import ForwardedAllowIPS

    monkeypatch.setattr(ForwardedAllowIPS, "validator", staticmethod(refuse))
    with pytest.raises(StartError) as caught:
        check_workers(EVERYTHING)
    assert str(caught.value) == (
        f"gunicorn {gunicorn.__version__} does not take forwarded_allow_ips '10.0.0.1,::1': "
        "ValueError: no way"
    )


def test_without_gunicorn_it_is_one_line_and_status_1(folder: Path) -> None:
    line = refusal([*without("gunicorn"), "site_app", "--workers", "2"], folder)
    assert line == (
        "meinheld: --workers takes gunicorn, which is not installed: "
        "pip install 'meinheld[gunicorn]'\n"
    )


def test_one_process_takes_no_gunicorn(folder: Path) -> None:
    done = subprocess.run(
        [*without("gunicorn"), "--version"], cwd=folder, capture_output=True, timeout=30, check=True
    )
    assert done.stdout.startswith(b"meinheld ")
