"""Frameworks read a body while it comes (server.set_stream_request_body)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Server
from rawclient import CHUNKED, Client, chunked, request
from visitor import LARGE, digest

# Each with where it takes a file. Bottle, Django and Falcon read as much as CONTENT_LENGTH says,
# and so nothing of a body in chunks; the others go by wsgi.input_terminated.
BY_LENGTH = [
    ("sites.bottle_site:app", "/upload"),
    ("sites.django_site.wsgi:application", "/form"),
    ("sites.falcon_site:app", "/form"),
]
TO_THE_END = [("sites.flask_site:app", "/upload"), ("sites.pyramid_site:app", "/upload")]
MULTIPART = (
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"Content-Type: application/x-thing\r\n\r\n" + LARGE + b"\r\n--cut--\r\n"
)
Field = tuple[str, str]


def send(
    client: Client, target: str, fields: list[Field], body: bytes, method: str = "POST"
) -> bytes:
    """Sends body when the site has begun to read it; returns the answer's."""
    fields = [*fields, ("Expect", "100-continue")]
    client.send(request(target, method=method, fields=fields, host="testsite"))
    assert client.read_head().status == 100
    half = len(body) // 2
    client.send(body[:half])
    client.send(body[half:])
    return client.read_response().body


@pytest.mark.parametrize("site, target", [*BY_LENGTH, *TO_THE_END])
def test_uploads_and_raw_bodies_are_read_whole(
    serve_alone: Callable[..., Server], files: dict[str, str], site: str, target: str
) -> None:
    server = serve_alone(site, env=files, stream_request_body=True)
    kind = ("Content-Type", "multipart/form-data; boundary=cut")
    length = ("Content-Length", str(len(LARGE)))
    with server.connect() as client:
        for _ in range(2):
            assert send(client, "/raw", [length], LARGE, "PUT") == digest(LARGE).encode()
            multipart = [kind, ("Content-Length", str(len(MULTIPART)))]
            assert digest(LARGE).encode() in send(client, target, multipart, MULTIPART)


@pytest.mark.parametrize("site, target", TO_THE_END)
def test_bodies_in_chunks_are_read_to_their_end(
    serve_alone: Callable[..., Server], files: dict[str, str], site: str, target: str
) -> None:
    server = serve_alone(site, env=files, stream_request_body=True)
    kind = ("Content-Type", "multipart/form-data; boundary=cut")
    with server.connect() as client:
        for size in (5000, 100_000):
            whole = chunked(LARGE, size)
            assert send(client, "/raw", CHUNKED, whole, "PUT") == digest(LARGE).encode()
            whole = chunked(MULTIPART, size)
            assert digest(LARGE).encode() in send(client, target, [kind, *CHUNKED], whole)
