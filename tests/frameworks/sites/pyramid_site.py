"""A Pyramid site. SITE_FILES names a directory with a file "large.bin"."""

from __future__ import annotations

from typing import Any

from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory

from sites.pyramid_views import FILES, ROOT

ROUTES = (
    "form upload raw body json cookies visits guarded stream ended file old nothing fails forbidden"
)


def make_app() -> Any:
    sessions = SignedCookieSessionFactory("not a secret: this site exists for tests")
    config = Configurator(root_factory=lambda request: ROOT, session_factory=sessions)
    config.add_route("words", "/words/{words:.*}/{number}")
    for name in ROUTES.split():
        config.add_route(name, f"/{name}")
    config.add_static_view("static", FILES, cache_max_age=3600)
    config.add_tween("sites.pyramid_views.marking_tween")
    config.scan("sites.pyramid_views")
    return config.make_wsgi_app()


app = make_app()
