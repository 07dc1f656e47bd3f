"""Work in transactions of PostgreSQL, by Django's connection and by a scoped session of SQLAlchemy.

SITE_POSTGRES is the directory of the server's socket; with SITE_LOCALS all is patched, and values
of threading.local are requests', else threads'."""

from __future__ import annotations

import os

from meinheld import patch

if "SITE_LOCALS" in os.environ:
    patch.patch_all(local=True)  # before what follows
    patch.patch_psycopg()  # so that queries wait too, and not what is between them alone

import json
from collections.abc import Callable, Iterable
from typing import Any

import django
import django.db
from apps import log
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from meinheld import server
from meinheld.common import Continuation
from sqlalchemy import create_engine
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

Execute = Callable[..., Any]  # (sql, *parameters) -> a row, if there is one

_waiting: dict[str, Continuation] = {}


def work(kind: str, name: str, end: str, execute: Execute) -> dict[str, Any]:
    """What is done inside a transaction, which is then to end as the result's "end" says: writes,
    waits (until somebody says how to end, if kind is "hold"), and writes again. Tells the backend
    and the transaction before and after."""
    execute("INSERT INTO entries VALUES (%s)", name)
    before = execute("SELECT pg_backend_pid(), pg_current_xact_id()::text")
    if kind == "hold":
        continuation = _waiting[name] = Continuation()
        log(f"{name} waits")
        end = continuation.suspend()
    else:
        server.sleep(0.001)
    execute("INSERT INTO entries VALUES (%s)", name)
    after = execute("SELECT pg_backend_pid(), pg_current_xact_id()::text")
    (seen,) = execute("SELECT count(DISTINCT name) FROM entries WHERE name LIKE 'not committed%%'")
    return {"end": end, "before": list(before), "after": list(after), "others seen": seen}


def resume(name: str, end: str) -> str:
    return str(_waiting.pop(name).resume(end))


# ---- Django


class Undone(Exception):
    """Rolls back."""


def django_execute(sql: str, *parameters: object) -> Any:
    with django.db.connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone() if cursor.description else None


def django_work(request: HttpRequest, kind: str, name: str, end: str) -> HttpResponse:
    try:
        with transaction.atomic():
            report = work(kind, name, end, django_execute)
            if report["end"] == "rollback":
                raise Undone
    except Undone:
        pass
    return JsonResponse(report)


def django_resume(request: HttpRequest, name: str, end: str) -> HttpResponse:
    return HttpResponse(resume(name, end))


class Told:
    """A file that tells what its close() finds."""

    def __init__(self) -> None:
        self._file = open(__file__, "rb")  # noqa: SIM115 - closed with the response
        self.name = self._file.name
        self.read = self._file.read

    def close(self) -> None:
        self._file.close()
        found = django.db.connections.all(initialized_only=True)
        log(f"{len(found)} connections are known")


def django_file(request: HttpRequest) -> FileResponse:
    django_execute("SELECT 1")
    return FileResponse(Told())


urlpatterns = [
    path("resume/<name>/<end>", django_resume),
    path("file", django_file),
    path("<kind>/<name>/<end>", django_work),
]


def make_django_site() -> WSGIHandler:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": os.environ["SITE_POSTGRES"],
                "NAME": "postgres",
                "USER": "postgres",
            }
        },
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"stderr": {"class": "logging.StreamHandler"}},
            "loggers": {"django.request": {"handlers": ["stderr"], "level": "ERROR"}},
        },
        ROOT_URLCONF=__name__,
        SECRET_KEY="not a secret: this site exists for tests",
    )
    django.setup()
    return WSGIHandler()


# ---- SQLAlchemy


def make_sqlalchemy_site() -> Callable[..., Iterable[bytes]]:
    url = f"postgresql+psycopg://postgres@/postgres?host={os.environ['SITE_POSTGRES']}"
    # A pool with an end would hold up the loop until somebody has given back what he waits with.
    sessions = scoped_session(sessionmaker(create_engine(url, poolclass=NullPool)))

    def execute(sql: str, *parameters: object) -> Any:
        result = sessions().connection().exec_driver_sql(sql, parameters)
        return result.fetchone() if result.returns_rows else None

    def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        kind, name, *ends = environ["PATH_INFO"][1:].split("/")
        start_response("200 OK", [("Content-Type", "text/plain")])
        if kind == "resume":
            return [resume(name, ends[0]).encode()]
        try:
            report = work(kind, name, ends[0], execute)
            if report["end"] == "rollback":
                sessions.rollback()
            else:
                sessions.commit()
        finally:
            sessions.remove()
        return [json.dumps(report).encode()]

    return site


def __getattr__(name: str) -> object:
    if name == "django_site":
        return make_django_site()
    if name == "sqlalchemy_site":
        return make_sqlalchemy_site()
    raise AttributeError(name)
