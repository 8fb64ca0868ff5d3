"""Somebody else's opinion of a file, before any form may take it: a virus scanner, most likely."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from storages.sniffing import OCTETS
from storages.uploads import settings
from storages.uploads.errors import UploadError
from storages.uploads.models import Upload
from storages.uploads.permissions import resolved
from storages.uploads.registry import label_of

# Given the upload and its bytes, a file open for reading: True lets it pass, False refuses it, None means that the
# answer is not there yet, and that it is asked again. What it raises means that nobody looked.
Scanner = Callable[[Upload, Any], "bool | None"]

AGAIN = 5  # seconds after which a client asks for the answer
DOWN = 30  # seconds after which it tries a scanner that did not work

# Files that were posted and passed, and for which field: a form looks at them, and then the model does.
_PASSED: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

logger = logging.getLogger("storages.uploads")


def scanner_of(field: Any) -> Scanner | None:
    """Return what looks at the files of ``field``: its own, that of the setting, or with False nobody."""
    hook = field.scan if field.scan is not None else settings.get("UPLOADS_SCANNER")
    return resolved(hook, "UPLOADS_SCANNER") or None


def scan(scanner: Scanner, upload: Upload, file: Any) -> bool:
    """Whether the file passed; False while the scanner is at it. Raises UploadError content_rejected, and

    scanner_unavailable where it failed: then the file is not accepted, and not lost.
    """
    try:
        verdict = scanner(upload, file)
    except Exception as error:
        logger.exception("The scanner failed on upload %s", upload.pk)
        message = "Files cannot be checked at present; try again later."
        raise UploadError("scanner_unavailable", message, retry_after=DOWN) from error
    if verdict is not None and not isinstance(verdict, bool):  # 0 would be asked for again and again
        logger.error("The scanner said neither True nor False nor None of upload %s", upload.pk)
        raise UploadError("scanner_unavailable", "Files cannot be checked at present.", retry_after=DOWN)
    if verdict is False:
        raise UploadError("content_rejected", "The file was refused when its content was checked.")
    return bool(verdict)


def scan_file(field: Any, file: Any) -> None:
    """Have a file looked at that was posted the ordinary way, and that has no upload.

    Raises UploadError content_rejected, and scanner_unavailable also where the answer takes longer than the request.
    """
    scanner = scanner_of(field)
    if scanner is None or _PASSED.get(file) == label_of(field):
        return
    upload = Upload(field=label_of(field), filename=str(file.name), size=file.size, content_type=_type_of(file))
    file.seek(0)
    passed = scan(scanner, upload, file)
    file.seek(0)
    if not passed:
        raise UploadError("scanner_unavailable", "This file takes longer to be checked; try again.", retry_after=AGAIN)
    _PASSED[file] = label_of(field)


def _type_of(file: Any) -> str:
    return getattr(file, "content_type", None) or OCTETS
