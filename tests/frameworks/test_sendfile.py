"""Downloads of a framework are files behind wsgi.file_wrapper, sent by sendfile(2)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Server, wait_until
from rawclient import request

SIZE = 64 << 20  # no socket takes it at once
# Each with where it has large.bin from its framework; to a HEAD of the first it tells the length.
SITES = [
    ("sites.bottle_site:app", ["/file", "/opened"]),
    ("sites.django_site.wsgi:application", ["/file", "/stored"]),
    ("sites.falcon_site:app", ["/static/large.bin", "/file"]),
    ("sites.flask_site:app", ["/file", "/attachment"]),
    ("sites.pyramid_site:app", ["/file", "/static/large.bin"]),
    ("sites.whitenoise_site:app", ["/static/large.bin"]),
]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """The file that a site sends as large.bin: some text, and then a hole."""
    path = tmp_path / "large.bin"
    path.write_bytes(b"some text")
    os.truncate(path, SIZE)
    return path


@pytest.mark.parametrize("site, targets", SITES)
def test_a_download_is_not_read_while_it_is_sent(
    serve_alone: Callable[..., Server], large: Path, site: str, targets: list[str]
) -> None:
    server = serve_alone(site, env={"SITE_FILES": str(large.parent)})
    for target in targets:
        with server.connect() as client:
            client.send(request(target, host="testsite"))
            response = client.read_head()
            assert (response.status, response.get("Content-Length")) == (200, str(SIZE))
            client.read_some(1 << 20)
            assert server.positions(large) == {0}
            if target == targets[0]:  # else its client leaves before the end
                client.read_some(SIZE - (1 << 20))
                wait_until(lambda: not server.positions(large), "closed the download")
                assert client.get("/nowhere", host="testsite").status in (200, 404)
        wait_until(lambda: not server.positions(large), "closed the download")


@pytest.mark.parametrize("site, targets", SITES)
def test_its_head_has_a_length_and_leaves_nothing_open(
    serve_alone: Callable[..., Server], large: Path, site: str, targets: list[str]
) -> None:
    server = serve_alone(site, env={"SITE_FILES": str(large.parent)})
    with server.connect() as client:
        response = client.get(targets[0], method="HEAD", host="testsite")
        assert (response.status, response.get("Content-Length")) == (200, str(SIZE))
        if sys.implementation.name == "pypy" and "falcon" in site:
            return  # Falcon drops the file, and leaves its close to a collector
        wait_until(lambda: not server.positions(large), "closed the file")
