"""The entry point that a server is told: sites.django_site.wsgi:application."""

from __future__ import annotations

import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sites.django_site.settings")
import_module("sites.django_site.counts")
application = get_wsgi_application()
