"""The admin site, and a download."""

from __future__ import annotations

from django.contrib import admin
from django.http import FileResponse, HttpRequest
from django.urls import path


def download(request: HttpRequest) -> FileResponse:
    return FileResponse(open(request.GET["path"], "rb"))


urlpatterns = [path("admin/", admin.site.urls), path("download", download)]
