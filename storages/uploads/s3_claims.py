"""A form or an API client gives the URL that a signed form has put a file under: whose is it, and what is there."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from storages.uploads import addresses, audience, claims, kinds, protocol, tokens
from storages.uploads.errors import UploadError
from storages.uploads.limits import UNCLAIMED
from storages.uploads.middleware import current_request
from storages.uploads.models import State, Upload

PREFIX = "storages-upload:"  # of tokens, as the widget of DirectUploadField posts them

_UNKNOWN = "This file is not known; choose it again."


def accepted(field: Any, said: str, request: HttpRequest | None = None) -> Upload:
    """Return the finished upload that a URL or token is for, of this field and of whoever makes the request.

    The file is looked at, and copied to where nobody can replace it; again and again the same. Raises UploadError.
    """
    request = request or current_request()
    if request is None:
        raise UploadError("upload_not_found", _UNKNOWN)
    token = said.removeprefix(PREFIX)
    if tokens.read_file(token) is None:
        token = _finished(field, token, request)
    return claims.look(token, field, request)


def _finished(field: Any, said: str, request: HttpRequest) -> str:
    """Finish the upload of an upload token or a URL, and return its file token."""
    if tokens.read_upload(said) is None:
        said = tokens.upload_token(_of_url(field, said, request))
    upload = protocol.opened(request, said, states=tuple(State.values))
    _settle_field(upload, field)
    answer = protocol.finish(request, {"upload": said})
    if "token" not in answer:  # a scanner is at it
        raise UploadError("scanner_unavailable", "This file is being checked; try again.", retry_after=5)
    return str(answer["token"])


def _of_url(field: Any, url: str, request: HttpRequest) -> Upload:
    """Return the row of a URL that was signed for who asks. Raises UploadError upload_not_found."""
    name = addresses.name_in(field.storage, url)
    rows = Upload._base_manager.filter(Q(staging=name) | Q(name=name)) if name else ()
    for upload in rows:
        if audience.has(request, upload):
            return upload
    raise UploadError("upload_not_found", _UNKNOWN)


def _settle_field(upload: Upload, field: Any) -> None:
    """Have an upload that was signed for a directory be of ``field``, which has the same. Raises UploadError."""
    if upload.field == field.label:
        return
    labels = _labels_beside(field) | {""}
    inside = field.name_of(addresses.address_of(field.storage, upload.name)) is not None
    if upload.state != State.BEGUN or upload.field not in labels or not inside:
        raise UploadError("upload_not_found", _UNKNOWN)
    free = Upload._base_manager.filter(pk=upload.pk, state=State.BEGUN, field=upload.field)
    if not free.update(field=field.label, storage=""):
        raise UploadError("state_conflict", "Another form has this file.")


def _labels_beside(field: Any) -> set[str]:
    """Return the fields whose files are in the same directory of the same storage."""
    from storages.uploads.s3_signing import directory_of, signing_fields

    directory = directory_of(field)
    beside = (one for one in signing_fields() if one.storage == field.storage)
    return {one.label for one in beside if directory is not None and directory_of(one) == directory}


def measure(upload: Upload, field: Any) -> None:
    """Note the size of what has arrived under a signed form. Raises UploadError parts_missing, too_large, too_small."""
    if upload.size or upload.kind != "post":
        return
    size = _size(upload, field.storage)
    if size < field.min_size:
        raise UploadError("too_small", "The file is empty.", field="size")
    if field.max_size is not None and size > field.max_size:
        raise UploadError("too_large", "The file is too large.", field="size")
    alive = Upload._base_manager.filter(pk=upload.pk, size=0, state__in=UNCLAIMED, expires__gt=timezone.now())
    if not alive.update(size=size):
        raise UploadError("state_conflict", "Another request has changed this upload.")
    upload.size = size


def _size(upload: Upload, storage: Any) -> int:
    """Return the bytes that have arrived, or those of the copy, if a form's transaction came to nothing after it."""
    for name in (upload.staging, upload.name):
        try:
            with kinds.storage_errors(upload, FileNotFoundError):
                return int(storage.stat(name).size if hasattr(storage, "stat") else storage.size(name))
        except FileNotFoundError:
            continue
    raise UploadError("parts_missing", "The file has not arrived; send it.")
