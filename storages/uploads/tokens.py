"""The three tokens, none of which is good for another: of a form's slot, of an upload under way, of its file.

They are signed, not encrypted; what they say is nothing personal. The life of the two latter is that of their row, so
that they carry no time, and the same row has the same token whenever it is asked.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Any, NamedTuple

from django.core import signing

from storages.uploads import settings
from storages.uploads.audience import Audience
from storages.uploads.errors import UploadError
from storages.uploads.models import Upload

SLOT, UPLOAD, FILE = "storages.uploads.slot", "storages.uploads.upload", "storages.uploads.file"  # the salts
LONGEST = 2048  # characters; what is longer is not even unsigned


class Slot(NamedTuple):
    """What a form may be given: uploads to one field, by one user or session."""

    field: str  # app.Model.field
    policy: str  # hash of what the field allowed
    user: str
    session: str
    files: int  # uploads at most
    number: str  # which the rows of its uploads have


class UploadRef(NamedTuple):
    """The row of an upload."""

    row: str
    nonce: str


class FileRef(NamedTuple):
    """The row of a finished upload, and which version of the object it was that was looked at."""

    row: str
    pin: str


def slot_token(field: str, policy: str, audience: Audience, files: int) -> str:
    """Return a token for up to ``files`` uploads to the field."""
    said = Slot(field, policy, *audience, files, secrets.token_hex(16))
    return signing.dumps(list(said), salt=SLOT)


def read_slot(token: object) -> Slot:
    """Return what a slot token says. Raises UploadError slot_expired, slot_invalid."""
    try:
        said = signing.loads(_text(token), salt=SLOT, max_age=settings.get("UPLOADS_SLOT_EXPIRE"))
    except signing.SignatureExpired as error:
        raise UploadError("slot_expired", "This form has been open for too long.", field="slot") from error
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise UploadError("slot_invalid", "The slot token is not one of ours.", field="slot") from error
    if not _is_shaped(said, Slot):
        raise UploadError("slot_invalid", "The slot token is not one of ours.", field="slot")
    return Slot(*said)


def upload_token(upload: Upload) -> str:
    """Return the token with which an upload goes on."""
    return _sign(UploadRef(upload.pk.hex, upload.nonce), UPLOAD)


def read_upload(token: object) -> UploadRef | None:
    """Return what an upload token says, None for what is none."""
    said = _unsign(token, UPLOAD, UploadRef)
    return None if said is None else UploadRef(*said)


def file_token(upload: Upload) -> str:
    """Return the token that a form takes for the file."""
    return _sign(FileRef(upload.pk.hex, pin_of(upload)), FILE)


def read_file(token: object) -> FileRef | None:
    """Return what a file token says, None for what is none."""
    said = _unsign(token, FILE, FileRef)
    return None if said is None else FileRef(*said)


def pin_of(upload: Upload) -> str:
    """Return what a file token says of the version: an etag is of any length, and may be made of the content."""
    return hashlib.sha256(f"{upload.pk.hex}:{upload.pin}".encode()).hexdigest()[:32]


def _sign(said: Any, salt: str) -> str:
    return signing.Signer(salt=salt).sign_object(list(said))


def _unsign(token: object, salt: str, shape: Any) -> list[str] | None:
    try:
        said = signing.Signer(salt=salt).unsign_object(_text(token))
    except (signing.BadSignature, ValueError, TypeError):  # the latter two: signed with the salt, but not by us
        return None
    return said if _is_shaped(said, shape) and _is_row(said[0]) else None


def _text(token: object) -> str:
    if not isinstance(token, str) or len(token) > LONGEST:
        raise signing.BadSignature("It is no token")
    return token


def _is_shaped(said: Any, shape: Any) -> bool:
    types = [int if name == "files" else str for name in shape._fields]
    return isinstance(said, list) and [type(one) for one in said] == types


def _is_row(text: str) -> bool:
    try:
        return uuid.UUID(hex=text).hex == text
    except ValueError:
        return False
