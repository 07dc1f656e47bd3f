"""A Flask app: a page with a form, what the form posts, an upload, a stream, and a download."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

app = Flask(__name__)


@app.get("/")
def page() -> str:
    return '<form method="post" action="/greet"><input name="name"></form>'


@app.post("/greet")
def greet() -> str:
    return f"Hello {request.form['name']}, from {request.remote_addr} to {request.host}"


@app.post("/upload")
def upload() -> str:
    file = request.files["file"]
    return f"{file.filename} {len(file.read())}"


@app.get("/old")
def old() -> WerkzeugResponse:
    return redirect(url_for("page"))


@app.get("/stream")
def stream() -> Response:
    def pieces() -> Iterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return Response(pieces(), mimetype="text/plain")


@app.get("/fails")
def fails() -> str:
    raise ValueError("on purpose")


@app.get("/download")
def download() -> Response:
    return send_file(request.args["path"])
