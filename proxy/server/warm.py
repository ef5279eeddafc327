"""Loads what would be loaded with the first request."""

from __future__ import annotations

from django.core.files.storage import storages
from django.urls import get_resolver


def up() -> None:
    """In the parent, so that the workers share it and answer at once."""
    # The modules of every view.
    get_resolver().url_patterns  # noqa: B018 - for its effect
    storages["default"]
