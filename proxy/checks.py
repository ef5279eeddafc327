"""System checks that report what is wrong with the environment.

The ids are listed in `s3proxy_site.env`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.apps import AppConfig

    from s3proxy_site.env import Problem


@checks.register("s3proxy")
def check_environment(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - Django's signature
    **kwargs: Any,  # noqa: ARG001
) -> list[checks.CheckMessage]:
    """An error for each problem, a warning for each oddity."""
    problems: list[Problem] = settings.S3PROXY_PROBLEMS
    oddities: list[Problem] = settings.S3PROXY_WARNINGS
    return [
        *(checks.Error(p.found, hint=f"Expected {p.expected}.", id=p.id) for p in problems),
        *(checks.Warning(p.found, hint=f"Expected {p.expected}.", id=p.id) for p in oddities),
    ]
