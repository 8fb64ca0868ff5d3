"""The view of django-buckets: a name is posted, and a signed form comes back."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from storages.uploads import s3_signing
from storages.uploads.errors import UploadError
from storages.uploads.views import LONGEST_BODY, is_long, unstored

_ABOUT_KEY = frozenset({"bad_filename", "type_not_allowed", "unknown_field"})


# Outside a transaction, of which others do not see the rows: two that begin at once would both pass the last place.
@transaction.non_atomic_requests
@require_POST
@csrf_protect
def s3_signed_url(request: HttpRequest) -> HttpResponse:
    """Answer ``url`` and ``fields`` for the ``key`` of a JSON or form body, and the header Upload-Token.

    400 {"key": ...} without a key or for one that cannot be had, 403 to who may not, 404 where nothing can be signed.
    """
    said = _body(request)
    key, label = said.get("key"), said.get("field") or ""
    if not isinstance(key, str) or not key or not isinstance(label, str):
        return unstored(JsonResponse({"key": "'key' is required"}, status=400))
    try:
        signed = s3_signing.sign(request, key, label)
    except s3_signing.NotSigned:
        return unstored(JsonResponse({"error": "Not found"}, status=404))
    except UploadError as error:
        return _failure(error)
    response = JsonResponse(signed.form)
    if signed.token:
        response["Upload-Token"] = signed.token
    return unstored(response)


# Who may not is told so in JSON, and not sent to the page for logging in.
s3_signed_url.login_required = False  # type: ignore[attr-defined]


def _body(request: HttpRequest) -> dict[str, Any]:
    """Return what is posted, nothing where that cannot be read."""
    if request.content_type != "application/json":
        return request.POST.dict()
    try:
        said = None if is_long(request) or len(request.body) > LONGEST_BODY else json.loads(request.body)
    except (RequestDataTooBig, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _failure(error: UploadError) -> HttpResponse:
    if error.code in _ABOUT_KEY:
        return unstored(JsonResponse({"key": error.detail}, status=400))
    response = JsonResponse({"error": error.detail}, status=error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return unstored(response)
