"""Views of all kinds."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from django.core.exceptions import PermissionDenied
from django.core.files import File
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST

from sites.django_site.counts import counts
from sites.pieces import digest_of, wait_at

# ---- what a request says


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page of \xfcml\xe4uts")


def show_words(request: HttpRequest, words: str, number: int) -> HttpResponse:
    return JsonResponse(
        {
            "words": words,
            "number": number,
            "path": request.path,
            "args": dict(request.GET.lists()),
            "built": reverse("words", args=[words, number]),
            "absolute": request.build_absolute_uri("/x"),
        }
    )


@csrf_exempt
@require_POST
def form(request: HttpRequest) -> HttpResponse:
    files = {
        name: {
            "name": file.name,
            "type": file.content_type,
            "class": type(file).__name__,
            "digest": digest_of(file),
        }
        for name, file in request.FILES.items()
    }
    return JsonResponse({"fields": dict(request.POST.lists()), "files": files})


def csrf_form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse(f"got {request.POST['text']}")
    return HttpResponse(get_token(request))


@csrf_exempt
def raw(request: HttpRequest) -> HttpResponse:
    return HttpResponse(digest_of(request))


@csrf_exempt
def body(request: HttpRequest) -> HttpResponse:
    return HttpResponse(hashlib.sha256(request.body).hexdigest())


@csrf_exempt
def unread(request: HttpRequest) -> HttpResponse:
    return HttpResponse("not interested")


# ---- cookies and sessions


def set_cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("set")
    response.set_cookie("one", "1; und so", max_age=60, httponly=True)
    response.set_cookie("two", "2", samesite="Strict")
    response.delete_cookie("three")
    return response


def cookies(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.COOKIES)


def visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


# ---- answers of all kinds


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        yield "first"
        wait_at(request.GET["gate"])
        yield "second"

    return StreamingHttpResponse(pieces(), content_type="text/plain")


def count(request: HttpRequest) -> StreamingHttpResponse:
    """A stream that ends in an exception, if that is asked for."""

    def pieces() -> Iterator[str]:
        for number in range(int(request.GET["to"])):
            yield f"{number}\n"
        if "fail" in request.GET:
            raise ValueError("in the middle, on purpose")

    return StreamingHttpResponse(pieces())


zipped = gzip_page(count)


def file(request: HttpRequest) -> FileResponse:
    path = Path(os.environ["SITE_FILES"], "large.bin")
    # Django closes it.
    return FileResponse(path.open("rb"), as_attachment=True, filename="gr\xfc\xdfe.bin")


def stored(request: HttpRequest) -> FileResponse:
    """The same as a model's FileField has it."""
    return FileResponse(File(Path(os.environ["SITE_FILES"], "large.bin").open("rb")))


def made(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(b"made in memory"), filename="made.txt")


async def asynchronous(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(f"for {request.GET['name']}")


@method_decorator(csrf_exempt, name="dispatch")
class Thing(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("a thing")

    def delete(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204)


def old(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/words/\xe4/1/")


# ---- errors, and the ends of requests


def fails(request: HttpRequest) -> HttpResponse:
    raise ValueError("on purpose")


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def on_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(f"nothing at {request.path}", status=404)


def on_error(request: HttpRequest) -> HttpResponse:
    return HttpResponse("we are sorry", status=500)


def show_counts(request: HttpRequest) -> HttpResponse:
    return JsonResponse(counts)
