"""The request that is being answered, for forms that are not told: whose token they are given has to be known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from storages.uploads import wording
from storages.uploads.errors import UploadError

_current: ContextVar[HttpRequest | None] = ContextVar("storages_uploads_request", default=None)


def current_request() -> HttpRequest | None:
    """Return the request of this thread or task, or None outside one, and without the middleware."""
    return _current.get()


class UploadsMiddleware:
    """Remember the request while it is answered; put it below AuthenticationMiddleware."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]):
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._answer(request)
        before = _current.set(request)
        try:
            return self.get_response(request)
        finally:
            _current.reset(before)

    async def _answer(self, request: HttpRequest) -> Any:
        before = _current.set(request)
        try:
            answer: Awaitable[Any] = self.get_response(request)
            return await answer
        finally:
            _current.reset(before)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer what a save raises: of two that take one file at once, the second is told, and nothing broke."""
        if not isinstance(exception, UploadError):
            return None
        text = str(wording.of(exception))
        return HttpResponse(text, status=exception.status, content_type="text/plain; charset=utf-8")
