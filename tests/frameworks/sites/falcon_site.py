"""A Falcon site. SITE_FILES names a directory with a file "large.bin"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon
from falcon import Request, Response
from falcon.media.multipart import BodyPart

from sites.pieces import Closing, digest_of, wait_at

FILES = Path(os.environ["SITE_FILES"])
closed: list[str] = []


class Marking:
    """Middleware: each answer says which resource it is of, and whether that succeeded."""

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        resp.set_header("X-Resource", f"{type(resource).__name__} {req_succeeded}")


# ---- what a request says


class Words:
    def on_get(self, req: Request, resp: Response, word: str, number: int) -> None:
        resp.media = {
            "word": word,
            "number": number,
            "path": req.path,
            "args": req.get_param_as_list("a"),
            "flag": req.get_param_as_bool("flag"),
            "uri": req.uri,
        }


class Form:
    """Fields, urlencoded or in parts."""

    def on_post(self, req: Request, resp: Response) -> None:
        if (req.content_type or "").startswith(falcon.MEDIA_URLENCODED):
            resp.media = req.get_media()
            return
        part: BodyPart
        parts = []
        for part in req.get_media():
            read = {"name": part.name, "file": part.filename, "type": part.content_type}
            parts.append({**read, "digest": digest_of(part.stream)})
        resp.media = parts


class Raw:
    def on_put(self, req: Request, resp: Response) -> None:
        resp.text = digest_of(req.bounded_stream)


def require_key(req: Request, resp: Response, resource: object, params: dict[str, Any]) -> None:
    if req.get_header("X-Key") != "right":
        raise falcon.HTTPUnauthorized(title="No key", challenges=["Key"])


class Things:
    """JSON in and out, behind a hook."""

    @falcon.before(require_key)
    def on_post(self, req: Request, resp: Response) -> None:
        resp.status = falcon.HTTP_201
        resp.location = "/things/\xe4"
        resp.media = {"got": req.get_media()}

    def on_delete(self, req: Request, resp: Response) -> None:
        resp.status = falcon.HTTP_204


class Unread:
    def on_post(self, req: Request, resp: Response) -> None:
        resp.text = "not interested"


class Cookies:
    def on_get(self, req: Request, resp: Response) -> None:
        resp.media = req.cookies

    def on_post(self, req: Request, resp: Response) -> None:
        resp.set_cookie("one", "1", max_age=60, secure=False)
        resp.set_cookie("two", "2", same_site="Strict", secure=False)
        resp.unset_cookie("three")


# ---- answers of all kinds


class Stream:
    def on_get(self, req: Request, resp: Response) -> None:
        gate = req.get_param("gate", required=True)

        def pieces() -> Iterator[bytes]:
            yield b"first"
            wait_at(gate)
            yield b"second"

        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = pieces()


class Closed:
    def on_get(self, req: Request, resp: Response) -> None:
        if label := req.get_param("label"):
            resp.stream = Closing(label, req.get_param("fail") is not None, closed)
        else:
            resp.media = closed


class File:
    """An open file as a stream, which Falcon hands to wsgi.file_wrapper."""

    def on_get(self, req: Request, resp: Response) -> None:
        path = FILES / "large.bin"
        resp.set_stream(path.open("rb"), path.stat().st_size)
        resp.downloadable_as = "gr\xfc\xdfe.bin"


class Tagged:
    def on_get(self, req: Request, resp: Response) -> None:
        resp.etag = "tag"
        if "tag" in (req.if_none_match or []):
            resp.status = falcon.HTTP_304
        else:
            resp.text = "changed"

    on_head = on_get


class Old:
    def on_get(self, req: Request, resp: Response) -> None:
        raise falcon.HTTPMovedPermanently("/words/a/1")


# ---- errors


class Fails:
    def on_get(self, req: Request, resp: Response) -> None:
        raise ValueError("on purpose")

    def on_post(self, req: Request, resp: Response) -> None:
        raise KeyError("on purpose")


def on_key_error(req: Request, resp: Response, error: KeyError, params: dict[str, Any]) -> None:
    raise falcon.HTTPUnprocessableEntity(title="Missing", description=str(error.args[0]))


def sink(req: Request, resp: Response, **kwargs: Any) -> None:
    resp.text = f"sunk {kwargs['rest']}"


app = falcon.App(middleware=[Marking()], cors_enable=True)
app.add_route("/words/{word}/{number:int}", Words())
app.add_route("/form", Form())
app.add_route("/raw", Raw())
app.add_route("/things", Things())
app.add_route("/unread", Unread())
app.add_route("/cookies", Cookies())
app.add_route("/stream", Stream())
app.add_route("/closed", Closed())
app.add_route("/file", File())
app.add_route("/tagged", Tagged())
app.add_route("/old", Old())
app.add_route("/fails", Fails())
app.add_sink(sink, r"/sink/(?P<rest>.*)")
app.add_static_route("/static", FILES)
app.add_error_handler(KeyError, on_key_error)
