"""Downloads of a framework are files behind wsgi.file_wrapper, sent by sendfile(2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Server, wait_until
from rawclient import request

SIZE = 64 << 20  # no socket takes it at once
SITES = ["sites.flask_site:app", "sites.django_site.wsgi:application"]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """The file that a site sends as large.bin: some text, and then a hole."""
    path = tmp_path / "large.bin"
    path.write_bytes(b"some text")
    os.truncate(path, SIZE)
    return path


@pytest.mark.parametrize("site", SITES)
def test_a_download_is_not_read_while_it_is_sent(
    serve_alone: Callable[..., Server], large: Path, site: str
) -> None:
    server = serve_alone(site, env={"SITE_FILES": str(large.parent)})
    with server.connect() as client:
        client.send(request("/file", host="testsite"))
        response = client.read_head()
        assert (response.status, response.get("Content-Length")) == (200, str(SIZE))
        client.read_some(1 << 20)
        assert server.positions(large) == {0}
        client.read_some(SIZE - (1 << 20))
        wait_until(lambda: not server.positions(large), "closed the download")


@pytest.mark.parametrize("site", SITES)
def test_its_head_has_a_length_and_leaves_nothing_open(
    serve_alone: Callable[..., Server], large: Path, site: str
) -> None:
    server = serve_alone(site, env={"SITE_FILES": str(large.parent)})
    with server.connect() as client:
        response = client.get("/file", method="HEAD", host="testsite")
        assert (response.status, response.get("Content-Length")) == (200, str(SIZE))
        wait_until(lambda: not server.positions(large), "closed the file")
