"""The admin's view of the models."""

from __future__ import annotations

from django.contrib import admin

from sites.django_site.models import Note


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ("title", "text")
    search_fields = ("title",)
