"""Makes the database, with one user for the admin: python -m sites.django_site.make_database"""

from __future__ import annotations

import os

import django
from django.core.management import call_command


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sites.django_site.settings")
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)

    from django.contrib.auth.models import User

    User.objects.create_superuser("admin", "admin@example.com", "right")


if __name__ == "__main__":
    main()
