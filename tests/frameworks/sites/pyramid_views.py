"""The views of pyramid_site.py, by routes and by traversal, and what goes around them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from pyramid.events import NewResponse, subscriber
from pyramid.exceptions import NotFound
from pyramid.httpexceptions import HTTPForbidden, HTTPNoContent, HTTPSeeOther
from pyramid.renderers import render_to_response
from pyramid.request import Request
from pyramid.response import FileResponse, Response
from pyramid.view import exception_view_config, notfound_view_config, view_config

from sites.pieces import Closing, digest_of, wait_at

FILES = os.environ["SITE_FILES"]
ended: list[str] = []


# ---- by routes


@view_config(route_name="words", renderer="json")
def show_words(request: Request) -> dict[str, Any]:
    return {
        "words": request.matchdict["words"],
        "number": request.matchdict["number"],
        "path": request.path_info,
        "args": request.GET.getall("\xe4"),
        "built": request.route_path("words", words="gr\xfc\xdfe/a b", number=1),
        "url": request.path_url,
    }


@view_config(route_name="form", request_method="POST", renderer="json")
def form(request: Request) -> dict[str, Any]:
    return {name: request.POST.getall(name) for name in request.POST}


@view_config(route_name="upload", renderer="json")
def upload(request: Request) -> dict[str, Any]:
    file = request.POST["file"]
    return {
        "name": file.filename,
        "type": file.type,
        "digest": digest_of(file.file),
        "title": request.POST.get("title"),
    }


@view_config(route_name="raw", renderer="string")
def raw(request: Request) -> str:
    return digest_of(request.body_file)


@view_config(route_name="body", renderer="string")
def body(request: Request) -> str:
    return hashlib.sha256(request.body).hexdigest()


@view_config(route_name="json", renderer="json")
def json(request: Request) -> dict[str, Any]:
    return {"got": request.json_body}


@view_config(route_name="cookies", request_method="POST")
def set_cookies(request: Request) -> Response:
    response = Response("set")
    response.set_cookie("one", "1", max_age=60, httponly=True)
    response.set_cookie("two", "2", samesite="Strict")
    response.delete_cookie("three")
    return response


@view_config(route_name="cookies", request_method="GET", renderer="json")
def cookies(request: Request) -> dict[str, Any]:
    return dict(request.cookies)


@view_config(route_name="visits", renderer="string")
def visits(request: Request) -> int:
    request.session["visits"] = int(request.session.get("visits", 0)) + 1
    return int(request.session["visits"])


@view_config(route_name="guarded", require_csrf=True, request_method="POST", renderer="string")
def guarded(request: Request) -> str:
    return "guarded"


@view_config(route_name="guarded", request_method="GET", renderer="string")
def show_token(request: Request) -> str:
    return str(request.session.get_csrf_token())


@view_config(route_name="stream")
def stream(request: Request) -> Response:
    gate = request.GET["gate"]

    def pieces() -> Iterator[bytes]:
        yield b"first"
        wait_at(gate)
        yield b"second"

    return Response(app_iter=pieces(), content_type="text/plain")


@view_config(route_name="ended")
def show_ended(request: Request) -> Response:
    label = request.GET.get("label")
    if label is None:
        return render_to_response("json", ended)
    request.add_finished_callback(lambda _: ended.append(f"{label} finished"))
    return Response(app_iter=Closing(f"{label} closed", "fail" in request.GET, ended))


@view_config(route_name="file")
def file(request: Request) -> Response:
    response = FileResponse(os.path.join(FILES, "large.bin"), request=request)
    response.conditional_response = True
    return response


@view_config(route_name="old")
def old(request: Request) -> Response:
    return HTTPSeeOther(request.route_url("cookies"))


@view_config(route_name="nothing")
def nothing(request: Request) -> Response:
    return HTTPNoContent()


# ---- by traversal


class Folder(dict[str, Any]):
    """A resource with others below it. Pyramid asks resources for __name__ and __parent__."""

    def __init__(self, name: str, parent: Folder | None) -> None:
        self.__name__ = name
        self.__parent__ = parent


class Page:
    """A resource at the end of a path."""

    def __init__(self, name: str, parent: Folder, text: str) -> None:
        self.__name__ = name
        self.__parent__ = parent
        self.text = text


ROOT = Folder("", None)
ROOT["a"] = Folder("a", ROOT)
ROOT["a"]["b\xe4r"] = Page("b\xe4r", ROOT["a"], "a page of \xfcml\xe4uts")


@view_config(context=Folder, renderer="json")
def list_folder(request: Request) -> list[str]:
    return sorted(request.context)


@view_config(context=Page, renderer="string")
def show_page(request: Request) -> str:
    return str(request.context.text)


@view_config(context=Page, name="edit", renderer="json")
def edit_page(request: Request) -> list[str]:
    return [request.context.text, request.resource_path(request.context), *request.subpath]


# ---- errors


@view_config(route_name="fails")
def fails(request: Request) -> Response:
    raise {"known": KeyError, "unknown": ValueError}[request.GET["how"]]("on purpose")


@exception_view_config(KeyError, renderer="json")
def on_key_error(error: KeyError, request: Request) -> dict[str, Any]:
    request.response.status_int = 422
    return {"missing": error.args[0]}


@view_config(route_name="forbidden")
def forbidden(request: Request) -> Response:
    raise HTTPForbidden("not you")


@notfound_view_config()
def on_not_found(error: NotFound, request: Request) -> Response:
    return Response(f"nothing at {request.path_info}", status=404)


# ---- around all views


@subscriber(NewResponse)
def mark(event: NewResponse) -> None:
    event.response.headers["X-Method"] = event.request.method


Handler = Callable[[Request], Response]


def marking_tween(handler: Handler, registry: Any) -> Handler:
    def tween(request: Request) -> Response:
        response = handler(request)
        response.headers["X-Tween"] = "passed"
        return response

    return tween
