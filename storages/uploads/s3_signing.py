"""Forms that put a file into S3, signed for a client that says no more than a name: the service of django-buckets."""

from __future__ import annotations

import datetime
import posixpath
import re
import secrets
import string
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from django.conf import settings as django_settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import storages
from django.http import HttpRequest
from django.utils import timezone

from storages import sniffing
from storages.names import clean_name
from storages.uploads import audience, limits, naming, permissions, settings, signals, targets, tokens
from storages.uploads.errors import UploadError
from storages.uploads.models import Upload

LETTERS = string.ascii_letters + string.digits
STEM = 24  # of these letters: 142 bits
KEPT = 100  # characters of the client's name, as a URL has them
_UNSAFE = re.compile(r"[^-\w.]")
DEFAULT = "default"  # alias of the storage that signs where no field says which


class Signed(NamedTuple):
    """A form, and the token of the upload's row, empty where nobody is known to whom it could belong."""

    form: dict[str, Any]  # url, fields
    token: str


class NotSigned(Exception):
    """The storage signs no forms."""


def sign(request: HttpRequest, key: str, label: str = "") -> Signed:
    """Sign a form for a file that the client calls ``key``, of the field ``label`` or of the directory that key has.

    Raises UploadError (bad_filename and type_not_allowed are about the key), NotSigned.
    """
    directory, filename = _split(key)
    fields = _fields(label, directory)
    check_permission(request, fields)
    if not fields and directory not in settings.get("UPLOADS_S3_DIRECTORIES"):
        raise UploadError("bad_filename", "'key' is not in a directory that files may be put into", field="key")
    limits.check_rate(request, fields[0] if fields else None)
    content_type = _type_of(filename, fields)
    storage = fields[0].storage if fields else storages[DEFAULT]
    get_signed_url = getattr(storage, "get_signed_url", None)
    if get_signed_url is None:
        raise NotSigned
    upload = _row(request, fields, directory, filename, content_type)
    upload.save(force_insert=True)
    try:
        if upload.user_id or upload.session:
            limits.check_room(request, fields[0] if fields else None, _owner(request), "", 0)
        form = get_signed_url(upload.staging, content_type=content_type)
    except NotImplementedError as error:
        upload.delete()
        raise NotSigned from error
    except BaseException:
        upload.delete()
        raise
    signals.upload_begun.send(Upload, upload=upload, request=request)
    return Signed(form, tokens.upload_token(upload) if upload.user_id or upload.session else "")


def signing_fields() -> Iterator[Any]:
    """Yield all fields of models for whose directories forms are signed."""
    return (field for field in targets.fields() if getattr(field, "signs_forms", False))


def check_permission(request: HttpRequest, fields: list[Any]) -> None:
    """Refuse who may not have a form signed for any of the fields. Raises UploadError permission_denied."""
    if settings.get("UPLOADS_S3_OPEN"):
        return
    policies = [field.permission for field in fields] or [None]
    for policy, field in zip(policies, fields or [None], strict=True):
        asked = policy if policy is not None else settings.get("UPLOADS_PERMISSION")
        if not permissions.ask(asked, request, field):
            raise UploadError("permission_denied", "You may not upload this file.")


def _split(key: str) -> tuple[str, str]:
    """Return the directory and the file name that a client asks for. Raises UploadError bad_filename."""
    if _clean_or_none(key.lstrip("/")) is None or "\\" in key:
        raise UploadError("bad_filename", "'key' is no name of a file", field="key")
    directory, _, filename = key.lstrip("/").rpartition("/")
    return directory, naming.original(filename)


def _clean_or_none(name: str) -> str | None:
    """Return ``name`` if it is one that stays in the storage, as it stands."""
    try:
        return name if name and clean_name(name) == name else None
    except SuspiciousFileOperation:
        return None


def _fields(label: str, directory: str) -> list[Any]:
    """Return the fields that a file of this directory may be for. Raises UploadError unknown_field."""
    fields = list(signing_fields())
    if label:
        found = [field for field in fields if field.label == label]
        if not found:
            raise UploadError("unknown_field", "There is no such field.", field="field")
        return found
    return [field for field in fields if directory_of(field) == directory]


def directory_of(field: Any) -> str | None:
    """Return the directory of a field's new files, None where its function needs an instance for that."""
    try:
        return str(field.upload_prefix())
    except Exception:  # noqa: BLE001  # a function of the project; such a field is signed for by its label
        return None


def _type_of(filename: str, fields: list[Any]) -> str:
    """Return the type that is signed, as the name has it. Raises UploadError type_not_allowed."""
    guess = lookups().get(posixpath.splitext(filename)[1].lower().lstrip("."))
    guess = sniffing.essence(guess or sniffing.type_of(filename)[0] or sniffing.OCTETS)
    restricted = [field for field in fields if field.content_types]
    if restricted and len(restricted) == len(fields):
        if not any(sniffing.is_allowed(guess, field.content_types) for field in restricted):
            raise UploadError("type_not_allowed", "Files of this type are not taken.", field="key")
        return guess
    return sniffing.OCTETS if guess in sniffing.ACTIVE_TYPES else guess  # what browsers run is shown by none


def lookups() -> dict[str, str]:
    """Return MIME_LOOKUPS: extension without its dot, in small letters, to type."""
    said = getattr(django_settings, "MIME_LOOKUPS", None) or {}
    return {str(extension).lower().lstrip("."): str(kind) for extension, kind in said.items()}


def new_name(directory: str, filename: str) -> str:
    """Return a name nobody can guess: of letters, or with UPLOADS_S3_KEEP_NAMES the client's in such a directory."""
    stem = "".join(secrets.choice(LETTERS) for _ in range(STEM))
    extension = naming.extension_of(filename)
    if not settings.get("UPLOADS_S3_KEEP_NAMES"):
        return posixpath.join(directory, stem + extension)
    root = _UNSAFE.sub("", posixpath.splitext(filename)[0].strip().replace(" ", "_"))[:KEPT].lstrip(".")
    while len(quote(root)) > KEPT:  # one letter of another alphabet has up to twelve in a URL
        root = root[:-1]
    return posixpath.join(directory, stem, (root or "file") + extension)


def _row(request: HttpRequest, fields: list[Any], directory: str, filename: str, content_type: str) -> Upload:
    owner = _owner(request)
    if fields:
        directory = fields[0].upload_prefix()
    return Upload(
        user_id=owner.user or None,
        session=owner.session,
        field=fields[0].label if fields else "",
        storage="" if fields else DEFAULT,
        kind="post",
        staging=new_name(directory, filename),
        name=new_name(directory, filename),
        filename=filename,
        size=0,  # the client does not say it; the field measures it at the end
        content_type=content_type,
        expires=timezone.now() + datetime.timedelta(seconds=settings.get("UPLOADS_EXPIRE")),
    )


def _owner(request: HttpRequest) -> audience.Audience:
    try:
        return audience.of(request)
    except ValueError:  # no sessions: then no form takes the file, and the sweep deletes it
        return audience.Audience("", "")
