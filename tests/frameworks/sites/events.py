"""Streams of server-sent events, as views of Flask and of Django."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import django
import meinheld
from apps import log
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from flask import Flask, Response
from meinheld.sync import Channel, channel

_news: Channel[str] = channel("news")


def watched(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Logs how the stream has ended."""
    try:
        yield from pieces
    finally:
        exc = sys.exc_info()[0]
        name = exc.__name__ if exc else "its end"
        log(f"ended by {name}")


def stream(environ: dict[str, object], heartbeat: float) -> Iterator[bytes]:
    last = meinheld.last_event_id(environ)
    return watched(meinheld.sse(_news, heartbeat=heartbeat, last_event_id=last))


# ---- Flask

flask_site = Flask(__name__)


@flask_site.get("/events/<heartbeat>")
def flask_events(heartbeat: str) -> Response:
    from flask import request

    pieces = stream(request.environ, float(heartbeat))
    return Response(pieces, headers=dict(meinheld.sse_headers()))


@flask_site.get("/publish/<message>")
def flask_publish(message: str) -> str:
    return str(_news.publish(message))


@flask_site.get("/waiting")
def flask_waiting() -> str:
    return str(_news.waiting)


# ---- Django


def django_events(request: HttpRequest, heartbeat: str) -> StreamingHttpResponse:
    pieces = stream(request.META, float(heartbeat))
    return StreamingHttpResponse(pieces, headers=dict(meinheld.sse_headers()))


def django_publish(request: HttpRequest, message: str) -> HttpResponse:
    return HttpResponse(str(_news.publish(message)))


def django_waiting(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(_news.waiting))


urlpatterns = [
    path("events/<heartbeat>", django_events),
    path("publish/<message>", django_publish),
    path("waiting", django_waiting),
]


def make_django_site() -> WSGIHandler:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="not a secret: this site exists for tests",
    )
    django.setup()
    return WSGIHandler()


def __getattr__(name: str) -> object:
    if name == "django_site":
        return make_django_site()
    raise AttributeError(name)
