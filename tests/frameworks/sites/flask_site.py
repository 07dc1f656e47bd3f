"""A Flask site. SITE_FILES names a directory with a file "large.bin"."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from flask import (
    Flask,
    Response,
    abort,
    g,
    jsonify,
    redirect,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.lint import HTTPWarning, LintMiddleware, WSGIWarning

from sites.pieces import digest_of, wait_at

app = Flask(__name__)
app.secret_key = "not a secret: this site exists for tests"
torn_down: list[str] = []


@app.before_request
def note_label() -> None:
    g.label = request.args.get("label", "")


@app.after_request
def mark(response: Response) -> Response:
    response.headers["X-After"] = request.endpoint or "none"
    return response


@app.teardown_request
def tear_down(error: BaseException | None) -> None:
    if g.label:
        torn_down.append(f"{g.label} {type(error).__name__}")


@app.get("/torn-down")
def list_torn_down() -> ResponseReturnValue:
    return jsonify(torn_down)


# ---- what a request says


@app.get("/")
def page() -> ResponseReturnValue:
    return '<form method="post" action="/greet"><input name="name"></form>'


@app.post("/greet")
def greet() -> ResponseReturnValue:
    return f"Hello {request.form['name']}, from {request.remote_addr} to {request.host}"


@app.get("/words/<path:words>/<int:number>")
def words(words: str, number: int) -> ResponseReturnValue:
    return jsonify(
        words=words,
        number=number,
        path=request.path,
        root=request.script_root,
        args=request.args.to_dict(flat=False),
        built=url_for("words", words=words, number=number),
    )


@app.post("/json")
def json() -> ResponseReturnValue:
    return jsonify(got=request.get_json())


@app.put("/raw")
def raw() -> ResponseReturnValue:
    return digest_of(request.stream)


@app.post("/upload")
def upload() -> ResponseReturnValue:
    file = request.files["file"]
    return jsonify(
        name=file.filename, type=file.mimetype, digest=digest_of(file), form=request.form
    )


@app.post("/unread")
def unread() -> ResponseReturnValue:
    return "not interested"


# ---- cookies and sessions


@app.get("/cookies/set")
def set_cookies() -> ResponseReturnValue:
    response = Response("set")
    response.set_cookie("one", "1; und \xfc", max_age=60, httponly=True)
    response.set_cookie("two", "2", samesite="Strict")
    response.delete_cookie("three")
    return response


@app.get("/cookies")
def cookies() -> ResponseReturnValue:
    return jsonify(request.cookies)


@app.post("/login")
def login() -> ResponseReturnValue:
    session["user"] = request.form["user"]
    return redirect(url_for("me"), 303)


@app.get("/me")
def me() -> ResponseReturnValue:
    if "user" not in session:
        abort(403)
    return f"You are {session['user']}"


# ---- answers of all kinds


@app.get("/stream")
def stream() -> ResponseReturnValue:
    def pieces() -> Iterator[str]:
        yield "first"
        wait_at(request.args["gate"])  # request is there: stream_with_context
        yield "second"

    return Response(stream_with_context(pieces()), mimetype="text/plain")


@app.get("/count")
def count() -> ResponseReturnValue:
    """A stream that ends in an exception, or waits in the middle, if that is asked for."""
    to, gate, fail = int(request.args["to"]), request.args.get("gate"), "fail" in request.args

    def pieces() -> Iterator[bytes]:
        for number in range(to):
            yield b"%d\n" % number
        if gate:
            wait_at(gate)
            yield b"more"
        if fail:
            raise ValueError("in the middle, on purpose")

    response = Response(pieces())
    label = request.args.get("label")
    response.call_on_close(lambda: torn_down.append(f"{label} closed"))
    return response


@app.get("/asynchronous")
async def asynchronous() -> ResponseReturnValue:
    before = request.args["name"]
    await asyncio.sleep(0)
    return f"for {before}, still {request.args['name']}"


@app.get("/file")
def file() -> ResponseReturnValue:
    path = os.path.join(os.environ["SITE_FILES"], "large.bin")
    return send_file(path, conditional=True, max_age=60)


@app.get("/attachment")
def attachment() -> ResponseReturnValue:
    path = os.path.join(os.environ["SITE_FILES"], "large.bin")
    return send_file(path, as_attachment=True, download_name="gr\xfc\xdfe.bin", etag=False)


class Thing(MethodView):
    def get(self) -> ResponseReturnValue:
        return "a thing"

    def delete(self) -> ResponseReturnValue:
        return "", 204


app.add_url_rule("/thing", view_func=Thing.as_view("thing"))


# ---- errors


@app.get("/fails")
def fails() -> ResponseReturnValue:
    raise ValueError("on purpose")


@app.get("/fails-known")
def fails_known() -> ResponseReturnValue:
    raise KeyError("on purpose")


@app.errorhandler(KeyError)
def on_key_error(error: KeyError) -> ResponseReturnValue:
    return jsonify(missing=error.args[0]), 422


@app.errorhandler(404)
def on_not_found(error: Exception) -> ResponseReturnValue:
    return f"nothing at {request.path}", 404


# ---- the same site behind other middleware


def by_length(checker: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Lets the checker's application read as far as CONTENT_LENGTH. With wsgi.input_terminated, of
    which the checkers know nothing, Werkzeug reads to the end, and that they refuse."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        del environ["wsgi.input_terminated"]
        return checker(environ, start_response)

    return application


mounted = DispatcherMiddleware(app, {"/below": app})

warnings.simplefilter("error", WSGIWarning)
warnings.simplefilter("error", HTTPWarning)
linted = by_length(LintMiddleware(app))
validated = by_length(validator(app))
