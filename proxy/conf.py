"""The proxy's only reader of Django's settings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from s3proxy_site.env import message

if TYPE_CHECKING:
    from s3proxy_site.env import Config


# What was read already: each look into Django's settings takes several calls.
_known: Config | None = None


@receiver(setting_changed)
def _forget(**_: object) -> None:
    """Tests change settings."""
    global _known  # noqa: PLW0603
    _known = None
    tells_scheme_by_field.cache_clear()


def config() -> Config:
    """The configuration; raises `ImproperlyConfigured` that lists every problem with it."""
    global _known  # noqa: PLW0603 - settings are one for the process, and so is what is in them
    if _known is not None:
        return _known
    found: Config | None = settings.S3PROXY
    _known = found
    if found is None:
        raise ImproperlyConfigured(message(settings.S3PROXY_PROBLEMS))
    return found


@functools.cache
def tells_scheme_by_field() -> bool:
    """Is a request's scheme what a field says, rather than the connection's?"""
    return bool(settings.SECURE_PROXY_SSL_HEADER)


def has_own_middleware_alone() -> bool:
    """Is there no middleware but the proxy's?"""
    return list(settings.MIDDLEWARE) == ["proxy.middleware.observe"]
