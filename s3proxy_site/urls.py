"""Maps paths to views: the admin routes first, objects everywhere else."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("admin_api.urls")),
    path("", include("proxy.urls")),
]

handler400 = "proxy.views.bad_request"
handler404 = "proxy.views.not_found"
handler500 = "proxy.views.server_error"
