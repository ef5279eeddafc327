"""Finds the view of a path, where nearly all paths have the last one of the routes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.urls import URLPattern, get_resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.urls import ResolverMatch

# What is remembered of the other paths.
_REMEMBERED_PATHS, _LONGEST_PATH = 1024, 1024

_ANYTHING = frozenset({"", r"\A", "^"})


class Routes:
    """Says of a path what Django's resolver says.

    Which tries every route anew for each path; all but the last are one expression here. Where
    they cannot be made one, the resolver alone is asked.
    """

    def __init__(self, resolver: Any = None) -> None:
        self._resolver = get_resolver() if resolver is None else resolver
        self._remembered = lru_cache(_REMEMBERED_PATHS)(self._resolver.resolve)
        self._others: re.Pattern[str] | None = None
        expressions = list(_expressions(self._resolver))
        if len(expressions) > 1 and expressions[-1] in _ANYTHING and None not in expressions:
            self._others = re.compile("|".join(f"(?:{known})" for known in expressions[:-1]))
            # No route of ours has it, and were it otherwise the comparison below would show.
            path = "/\0"
            self._last: ResolverMatch = self._resolver.resolve(path)

    def match(self, path: str) -> ResolverMatch:
        """The view of a decoded path; raises Resolver404."""
        if self._others is not None and not self._others.search(path, 1):
            return self._last
        if len(path) > _LONGEST_PATH:
            found: ResolverMatch = self._resolver.resolve(path)
            return found
        return self._remembered(path)
