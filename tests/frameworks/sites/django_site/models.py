"""What the admin adds, lists, changes and deletes."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    title = models.CharField(max_length=100)
    text = models.TextField(blank=True)

    class Meta:
        app_label = "django_site"

    def __str__(self) -> str:
        return str(self.title)
