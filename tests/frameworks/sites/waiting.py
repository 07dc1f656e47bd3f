"""Views that wait for a resume, in Flask and in Django; what each does is logged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
from apps import log
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from flask import Flask, Response, g, stream_with_context
from meinheld.common import Continuation
from meinheld.middleware import CONTINUATION_KEY, ContinuationMiddleware

_waiting: dict[str, Continuation] = {}


def suspend(environ: dict[str, Any], name: str) -> str:
    """Waits inside a with block whose end is logged."""
    continuation = _waiting[name] = environ[CONTINUATION_KEY]
    log(f"{name} waits")
    try:
        return str(continuation.suspend())
    except Exception:
        log(f"{name} failed")
        raise
    finally:
        log(f"{name} goes on")


def resume(name: str, message: str) -> str:
    return str(_waiting[name].resume(message))


# ---- Flask

flask_app = Flask(__name__)


@flask_app.teardown_request
def tear_down(error: BaseException | None) -> None:
    log(f"torn down after {g.get('name')}")


@flask_app.get("/wait/<name>")
def flask_wait(name: str) -> str:
    from flask import request

    g.name = name
    message = suspend(request.environ, name)
    return f"{g.name} {request.path} {message}"


@flask_app.get("/stream/<name>")
def flask_stream(name: str) -> Response:
    from flask import request

    def pieces() -> Iterator[str]:
        yield "first "
        yield suspend(request.environ, name) + request.path

    return Response(stream_with_context(pieces()))


@flask_app.get("/resume/<name>/<message>")
def flask_resume(name: str, message: str) -> str:
    return resume(name, message)


flask_site = ContinuationMiddleware(flask_app)


# ---- Django


def django_wait(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"{name} {request.path} {suspend(request.META, name)}")


def django_stream(request: HttpRequest, name: str) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        yield "first "
        yield suspend(request.META, name) + request.path

    return StreamingHttpResponse(pieces())


def django_resume(request: HttpRequest, name: str, message: str) -> HttpResponse:
    return HttpResponse(resume(name, message))


urlpatterns = [
    path("wait/<name>", django_wait),
    path("stream/<name>", django_stream),
    path("resume/<name>/<message>", django_resume),
]


def make_django_site() -> ContinuationMiddleware:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="not a secret: this site exists for tests",
    )
    django.setup()
    from django.core.signals import request_finished

    def finished(sender: object, **kwargs: object) -> None:
        log("request finished")

    request_finished.connect(finished, weak=False)
    return ContinuationMiddleware(WSGIHandler())


def __getattr__(name: str) -> object:
    if name == "django_site":
        return make_django_site()
    raise AttributeError(name)
