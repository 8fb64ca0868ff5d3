"""A session that may be looked at, and an answer that sets no cookie."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.http.response import HttpResponseBase

_WRITES = ("save", "create", "delete")
_ASYNC_WRITES = ("asave", "acreate", "adelete")


def read_only(request: HttpRequest) -> None:
    """Let nothing that happens to the session of ``request`` from here on reach its store.

    Forty ranges of one film would else write it forty times, and a rotated key whose cookie is not sent log out.
    """
    session = getattr(request, "session", None)
    if not isinstance(session, SessionBase):
        return
    session = copy.copy(session)
    for method in _WRITES:
        setattr(session, method, _nothing)
    for method in _ASYNC_WRITES:
        setattr(session, method, _async_nothing)
    request.session = session


def set_no_cookie(response: HttpResponseBase) -> None:
    """Let ``response`` have no Set-Cookie, whatever a middleware still adds: a cache might hand it on."""
    response.cookies = _NoCookies()


class _NoCookies(SimpleCookie):
    """Takes cookies in, and gives none out."""

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def items(self) -> Any:
        return {}.items()

    def values(self) -> Any:
        return {}.values()

    def keys(self) -> Any:
        return {}.keys()

    def output(self, *args: Any, **kwargs: Any) -> str:
        return ""


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


async def _async_nothing(*args: Any, **kwargs: Any) -> None:
    return None
