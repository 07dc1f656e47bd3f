"""The entry point that a server is told: apps.djsite.wsgi:application."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.djsite.settings")
application = get_wsgi_application()
