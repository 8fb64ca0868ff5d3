"""The views of a project, for system checks that look at what they serve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver


def routes() -> Iterator[tuple[str, Any]]:
    """Yield each route of the project with the function or partial that answers it; none without ROOT_URLCONF."""
    if getattr(settings, "ROOT_URLCONF", None):
        yield from _inside(get_resolver().url_patterns, "")


def _inside(patterns: Iterable[Any], start: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = start + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _inside(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback
