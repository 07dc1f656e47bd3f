"""A Bottle site. SITE_FILES names a directory with a file "large.bin".

    python -m sites.bottle_site PORT

serves it by Bottle's own adapter for this server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import bottle
from bottle import HTTPResponse, abort, redirect, request, response, static_file

from sites.pieces import Closing, digest_of, wait_at

SECRET = "not a secret: this site exists for tests"
app = bottle.Bottle()
closed: list[str] = []


@app.hook("after_request")
def mark() -> None:
    response.set_header("X-After", request.method)


# ---- what a request says


@app.get("/")
def page() -> str:
    return "a page of \xfcml\xe4uts"


@app.get("/words/<words:path>/<number:int>")
def show_words(words: str, number: int) -> dict[str, Any]:
    query = {name: request.query.decode().getall(name) for name in request.query.decode()}
    return {"words": words, "number": number, "path": request.path, "args": query}


@app.post("/form")
def form() -> dict[str, Any]:
    fields = request.forms.decode()
    return {name: fields.getall(name) for name in fields}


@app.post("/upload")
def upload() -> dict[str, Any]:
    file = request.files.get("file")
    return {
        "name": file.raw_filename,
        "type": file.content_type,
        "digest": digest_of(file.file),
        "title": request.forms.getunicode("title"),
    }


@app.post("/json")
def json() -> dict[str, Any]:
    return {"got": request.json}


@app.route("/raw", method="PUT")
def raw() -> str:
    return digest_of(request.body)


# ---- cookies


@app.get("/cookies/set")
def set_cookies() -> str:
    response.set_cookie("one", "1", max_age=60, httponly=True)
    response.set_cookie("two", "2", samesite="strict")
    response.set_cookie("signed", "J\xf6rg", secret=SECRET)
    response.delete_cookie("three")
    return "set"


@app.get("/cookies")
def cookies() -> dict[str, Any]:
    return {
        "one": request.get_cookie("one"),
        "two": request.get_cookie("two"),
        "signed": request.get_cookie("signed", secret=SECRET),
    }


# ---- answers of all kinds


@app.get("/old")
def old() -> None:
    redirect("/words/a/1")


@app.get("/stream")
def stream() -> Iterator[str]:
    gate = request.query.gate
    yield "first"
    wait_at(gate)
    yield "second"


@app.get("/closing/<label>")
def closing(label: str) -> Closing:
    return Closing(label, "fail" in request.query, closed)


@app.get("/closed")
def list_closed() -> dict[str, Any]:
    return {"closed": closed}


@app.get("/file")
def file() -> HTTPResponse:
    return static_file("large.bin", root=os.environ["SITE_FILES"])


@app.get("/attachment")
def attachment() -> HTTPResponse:
    root = os.environ["SITE_FILES"]
    return static_file("large.bin", root=root, download="large copy.bin")


@app.get("/opened")
def opened() -> Any:
    """A file, which Bottle hands to wsgi.file_wrapper."""
    return open(os.path.join(os.environ["SITE_FILES"], "large.bin"), "rb")


@app.get("/no-content")
def no_content() -> HTTPResponse:
    return HTTPResponse(status=204)


# ---- errors


@app.get("/fails")
def fails() -> None:
    raise ValueError("on purpose")


@app.get("/forbidden")
def forbidden() -> None:
    abort(403, "not you")


@app.error(404)
def on_not_found(error: Any) -> str:
    return f"nothing at {request.path}"


below = bottle.Bottle()


@below.get("/where")
def where() -> str:
    return f"{request.script_name} {request.path} {request.url}"


app.mount("/below", below)

if __name__ == "__main__":
    bottle.run(app, server="meinheld", host="127.0.0.1", port=int(sys.argv[1]))
