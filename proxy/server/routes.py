"""Finds the view of a path, where nearly all paths have that of the last route."""

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

_ANCHORS = ("^", r"\A")


class Routes:
    """Says of a path what Django's resolver says, which tries route after route for each path.

    All routes but the last are one expression here. Where they cannot be made one, or the last
    does not take all that the others leave, the resolver alone is asked.
    """

    def __init__(self, resolver: Any = None) -> None:
        self._resolver = get_resolver() if resolver is None else resolver
        self._remembered = lru_cache(_REMEMBERED_PATHS)(self._resolver.resolve)
        self._others: re.Pattern[str] | None = None
        *others, last = _expressions(self._resolver.url_patterns)
        if last in _ANCHORS and all(known and _can_be_joined(known) for known in others):
            self._others = re.compile("|".join(f"(?:{known})" for known in others))
            # The empty path would be the first of a route "".
            self._last: ResolverMatch = self._resolver.resolve("/\0")

    def match(self, path: str) -> ResolverMatch:
        """The view of a decoded path; raises Resolver404."""
        if self._others is not None and path[:1] == "/" and not self._others.match(path[1:]):
            return self._last
        if len(path) > _LONGEST_PATH:
            found: ResolverMatch = self._resolver.resolve(path)
        else:
            found = self._remembered(path)
        return found


def _can_be_joined(expression: str) -> bool:
    # A group's name may stand once only.
    return expression.startswith(_ANCHORS) and "(?P" not in expression


def _expressions(patterns: list[Any], beneath: str = "") -> Iterator[str | None]:
    """Each route's, in the order in which they are tried; None for one that is below a prefix."""
    for pattern in patterns:
        expression: str = pattern.pattern.regex.pattern
        if isinstance(pattern, URLPattern):
            yield None if beneath else expression
        else:
            yield from _expressions(pattern.url_patterns, beneath + expression.removeprefix("^"))
