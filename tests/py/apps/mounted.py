"""The environ app, with what its deployer has set."""

from __future__ import annotations

from meinheld import server

from apps.environ import app

server.set_environ({"SCRIPT_NAME": "/shop", "wsgi.url_scheme": "https", "shop.config": "a.ini"})

__all__ = ["app"]
