"""Every path is an object's."""

from __future__ import annotations

from django.urls import re_path

from proxy.views import serve_object

# Anything at all: a decoded path may have line ends in it, which "." would not match.
urlpatterns = [re_path(r"\A", serve_object, name="object")]
