"""The protocol over HTTP: JSON in and out, by POST, from a page of this site."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from storages.uploads import authentication, protocol
from storages.uploads.errors import UploadError

LONGEST_BODY = 64 * 1024  # bytes


class _Csrf(CsrfViewMiddleware):
    """Django's own check, which tells instead of answering with a page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def check_csrf(request: HttpRequest) -> None:
    """Refuse what another site may have sent. Raises UploadError csrf_failed."""
    check = _Csrf(lambda request: HttpResponse())
    check.process_request(request)
    if check.process_view(request, _checked, (), {}) is not None:
        raise UploadError("csrf_failed", "The page is too old, or of another site; reload it.")


def failure(error: UploadError) -> JsonResponse:
    """Return the answer to a request that cannot be met."""
    response = JsonResponse(error.as_json(), status=error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return unstored(response)


def unstored(response: Any) -> Any:
    """Let no cache have an answer with tokens or signatures in it."""
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def is_long(request: HttpRequest) -> bool:
    """Whether the body is announced to be longer than any that is answered here."""
    told = request.META.get("CONTENT_LENGTH") or ""
    return told.isascii() and told.isdigit() and (len(told) > 9 or int(told) > LONGEST_BODY)


# Decorated against middlewares: our own check of CSRF answers in JSON, somebody who is not logged in is told so and not
# sent to a page, and what a refused request has changed (a rejected upload, say) stays changed.
@method_decorator([csrf_exempt, transaction.non_atomic_requests], name="dispatch")
class ProtocolView(View):
    """One call of the protocol, ``call``; ``status`` is that of its answer."""

    call: Callable[..., Any] = staticmethod(lambda request, data: None)
    status = 200

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view; Django's LoginRequiredMiddleware lets it answer for itself."""
        view = super().as_view(**initkwargs)
        view.login_required = False  # type: ignore[attr-defined]
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer in JSON whatever happens."""
        try:
            return self._answer(request)
        except UploadError as error:
            response = failure(error)
            if error.code == "method":
                response["Allow"] = "POST"
            return response

    def _answer(self, request: HttpRequest) -> Any:
        if request.method != "POST":
            raise UploadError("method", "Only POST is answered here.")
        if request.content_type != "application/json":
            raise UploadError("json_required", "The body has to be application/json.")
        if not authentication.identify(request):
            check_csrf(request)
        said = type(self).call(request, _body(request))
        if said is None:
            return unstored(HttpResponse(status=204))
        status = 202 if said.get("retry_after") else self.status
        response = JsonResponse(said, status=status)
        if status == 202:
            response["Retry-After"] = str(said["retry_after"])
        return unstored(response)


class BeginView(ProtocolView):
    call = staticmethod(protocol.begin)
    status = 201


class PartsView(ProtocolView):
    call = staticmethod(protocol.parts)


class StatusView(ProtocolView):
    call = staticmethod(protocol.status)


class FinishView(ProtocolView):
    call = staticmethod(protocol.finish)


class AbortView(ProtocolView):
    call = staticmethod(protocol.abort)


class SlotView(ProtocolView):
    call = staticmethod(protocol.slot)


def _body(request: HttpRequest) -> Any:
    if is_long(request):  # before it is in memory, whatever the project lets others have there
        raise UploadError("bad_request", "The body is too long.")
    try:
        body = request.body
    except (RequestDataTooBig, RawPostDataException) as error:
        raise UploadError("bad_request", "The body is too long.") from error
    if len(body) > LONGEST_BODY:
        raise UploadError("bad_request", "The body is too long.")
    try:
        return json.loads(body, parse_constant=_no_number, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UploadError("bad_request", "The body is not JSON.") from error


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) != len(pairs):
        raise ValueError("A key comes twice")
    return said


def _checked(request: HttpRequest) -> HttpResponse:
    """Stand for a view that is not exempt from the check."""
    return HttpResponse()
