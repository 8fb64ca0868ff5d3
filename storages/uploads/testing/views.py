"""The view that forms are posted to which were signed for the fake S3."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from django.conf import settings as django_settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage, storages
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from storages.uploads import settings
from storages.uploads.testing import policies
from storages.uploads.testing.storage import FakeS3Storage


def is_on() -> bool:
    """Whether the fake answers: with DEBUG, or as UPLOADS_FAKE says."""
    said = settings.get("UPLOADS_FAKE")
    return bool(django_settings.DEBUG if said is None else said)


# What comes from a page of another origin has no CSRF token: it is the signature that lets it in.
@csrf_exempt
def fake_s3_upload(request: HttpRequest) -> HttpResponse:
    """Take a form as S3 does: 204, or XML that says what is wrong with it."""
    if not is_on():
        raise Http404("The fake S3 answers with DEBUG or UPLOADS_FAKE")
    return _upload(request)


fake_s3_upload.login_required = False  # type: ignore[attr-defined]


@require_POST
def _upload(request: HttpRequest) -> HttpResponse:
    try:
        _take(request)
    except policies.Refusal as refusal:
        return _refused(refusal)
    return HttpResponse(status=204)


def _take(request: HttpRequest) -> None:
    file = request.FILES.get("file")
    if not request.POST.get("key"):
        raise policies.Refusal(400, "InvalidArgument", "Bucket POST must contain a field named 'key'.")
    if file is None:
        raise policies.Refusal(400, "InvalidArgument", "POST requires exactly one file upload per request.")
    if any(len(values) > 1 for _, values in request.POST.lists()):
        raise policies.Refusal(400, "InvalidArgument", "A field comes twice")
    fields = {name: str(value) for name, value in request.POST.items()}
    policies.check(fields, file.size or 0)
    try:
        storage().put(fields["key"], file)
    except SuspiciousFileOperation as error:
        raise policies.Refusal(403, "AccessDenied", "The key leaves the bucket") from error


def storage() -> FakeS3Storage:
    """Return the fake storage of this project: the default one, or else the first among STORAGES. Raises Http404."""
    aliases = ["default", *(alias for alias in storages.backends if alias != "default")]
    candidates: list[Any] = [default_storage if alias == "default" else storages[alias] for alias in aliases]
    for candidate in candidates:
        if isinstance(candidate, FakeS3Storage):
            return candidate
    return FakeS3Storage()


def _refused(refusal: policies.Refusal) -> HttpResponse:
    details = {"Code": refusal.code, "Message": refusal.message, **refusal.details}
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in details.items())
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    response = HttpResponse(text, status=refusal.status, content_type="application/xml")
    response["X-Content-Type-Options"] = "nosniff"
    return response
