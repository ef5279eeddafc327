"""Maps the admin paths, under ADMIN_PREFIX, to their views."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.urls import path, re_path

from admin_api.views.cache import purge, stats, unknown
from admin_api.views.healthz import healthz
from admin_api.views.metrics import metrics
from admin_api.views.readyz import readyz
from proxy import conf

if TYPE_CHECKING:
    from django.urls import URLPattern


def routes(prefix: str) -> list[URLPattern]:
    """The admin routes under ``prefix``, which is "" or like "/-"; `/healthz` is always one.

    Matched exactly, by the decoded path: what else looks like them is an object's.
    """
    base = f"{prefix.removeprefix('/')}/" if prefix else ""
    always = [path("healthz", healthz, name="healthz")] if prefix else []
    return [
        *always,
        path(f"{base}healthz", healthz, name="healthz"),
        path(f"{base}readyz", readyz, name="readyz"),
        path(f"{base}metrics", metrics, name="metrics"),
        path(f"{base}cache/purge", purge, name="cache-purge"),
        path(f"{base}cache/stats", stats, name="cache-stats"),
        re_path(rf"\A{re.escape(base)}cache/", unknown, name="cache-unknown"),
    ]


urlpatterns = routes(conf.config().admin_prefix)
