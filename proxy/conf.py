"""The proxy's only reader of Django's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from s3proxy_site.env import message

if TYPE_CHECKING:
    from s3proxy_site.env import Config


def config() -> Config:
    """The configuration; raises `ImproperlyConfigured` that lists every problem with it."""
    found: Config | None = settings.S3PROXY
    if found is None:
        raise ImproperlyConfigured(message(settings.S3PROXY_PROBLEMS))
    return found


def has_own_middleware_alone() -> bool:
    """Is there no middleware but the proxy's?"""
    return list(settings.MIDDLEWARE) == ["proxy.middleware.observe"]
