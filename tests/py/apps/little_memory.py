"""apps.bodies where all bodies together may take 100,000 bytes of memory."""

from __future__ import annotations

from meinheld import _uploads

from apps import bodies

_uploads.MAX_IN_MEMORY = 100_000  # type: ignore[misc]

app = bodies.app
