"""What people are told of a refusal, in their language; the detail of an UploadError is for developers."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from storages.uploads.errors import UploadError

_REFUSED = _("This file was refused.")
_TOO_OLD = _("This upload is too old; choose the file again.")
_UNKNOWN = _("This upload is not known; choose the file again.")
_DENIED = _("You may not upload this file.")
_FAILED = _("The file could not be uploaded.")

MESSAGES: dict[str, Any] = {
    "already_claimed": _("This file was saved already; choose it again."),
    "content_rejected": _REFUSED,
    "size_mismatch": _REFUSED,
    "checksum_mismatch": _REFUSED,
    "type_mismatch": _REFUSED,
    "type_not_allowed": _("File type not allowed."),
    "too_large": _("The file is too large."),
    "scanner_unavailable": _("This file could not be checked; try again later."),
    "upload_expired": _TOO_OLD,
    "upload_aborted": _UNKNOWN,
    "upload_not_found": _UNKNOWN,
    "not_authenticated": _DENIED,
    "permission_denied": _DENIED,
}


def of(error: UploadError) -> Any:
    """Return the sentence, translated when it is shown."""
    return MESSAGES.get(error.code, _FAILED)
