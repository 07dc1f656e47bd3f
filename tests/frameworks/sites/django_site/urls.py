"""The admin site, and the views."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from sites.django_site import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.page),
    path("words/<path:words>/<int:number>/", views.show_words, name="words"),
    path("form", views.form),
    path("csrf-form", views.csrf_form),
    path("raw", views.raw),
    path("body", views.body),
    path("unread", views.unread),
    path("cookies/set", views.set_cookies),
    path("cookies", views.cookies),
    path("visits", views.visits),
    path("stream", views.stream),
    path("count", views.count),
    path("zipped", views.zipped),
    path("file", views.file),
    path("stored", views.stored),
    path("made", views.made),
    path("asynchronous", views.asynchronous),
    path("thing", views.Thing.as_view()),
    path("old", views.old),
    path("fails", views.fails),
    path("forbidden", views.forbidden),
    path("counts", views.show_counts),
]
handler404 = views.on_not_found
handler500 = views.on_error
