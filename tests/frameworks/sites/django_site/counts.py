"""How many requests Django has begun and finished. To be imported before the first."""

from __future__ import annotations

from typing import Any

from django.core.signals import request_finished, request_started
from django.dispatch import receiver

counts = {"started": 0, "finished": 0}


@receiver(request_started)
def count_started(**_signal: Any) -> None:
    counts["started"] += 1


@receiver(request_finished)
def count_finished(**_signal: Any) -> None:
    counts["finished"] += 1
