"""Headers that every answer with a private file has, whichever way it is delivered."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.conf import settings as django_settings
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from storages.private import settings

if TYPE_CHECKING:
    from storages.private.models import PrivateFile

# What a browser shows without running anything of it, and without loading anything else. Not here, and so downloaded:
# HTML, SVG and XML, which hold scripts; PDF, which may hold them too; CSS and JavaScript, which another page could
# take in. Lists of types and not "image/*", since that has SVG in it and whatever comes next.
INERT_TYPES = frozenset(
    {
        "audio/aac",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "audio/wav",
        "audio/webm",
        "audio/x-wav",
        "image/apng",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/heic",
        "image/heif",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/vnd.microsoft.icon",
        "image/webp",
        "image/x-icon",
        "image/x-ms-bmp",
        "text/plain",
        "video/mp4",
        "video/mpeg",
        "video/ogg",
        "video/quicktime",
        "video/webm",
        "video/x-m4v",
        "video/x-matroska",
    }
)
UNKNOWN_TYPE = "application/octet-stream"

STRICT_POLICY = "sandbox; default-src 'none'"
# Opened by its own URL, a file is put into a document of the browser's making, for which its policy holds. That of an
# image is laid out by a style; that of a film loads it once more, which from a sandbox's origin of its own would be
# another site's request. Without allow-scripts, allow-same-origin gives nothing to run.
SECURITY_POLICIES = {
    "image": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "audio": "sandbox allow-same-origin; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'",
    "video": "sandbox allow-same-origin; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'",
}

LONGEST_FILE_NAME = 255  # bytes of UTF-8, as file systems have it; keeps the header below nginx's 4 KiB for all of them

# RFC 5987's attr-char, beside letters and digits and what quote() leaves anyway.
_ATTR_CHARS = "!#$&+^`|"
# Characters that join others; the rest of their category, such as those that turn the direction, only mislead.
_JOINERS = "\u200c\u200d"
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# In quotes these are escaped, which not every browser undoes; a percent sign some decode.
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')


def protect(response: HttpResponseBase, private_file: PrivateFile) -> None:
    """Give ``response`` the headers that keep a private file private, and harmless.

    What a delivery says of type and disposition is replaced, other than of several ranges.
    """
    if response.status_code in (200, 206):
        if not response.headers.get("Content-Type", "").startswith("multipart/byteranges"):
            response.headers["Content-Type"] = private_file.response_type
        response.headers["Content-Disposition"] = private_file.content_disposition
    main_type = private_file.content_type.partition("/")[0].lower()
    policy = SECURITY_POLICIES.get(main_type)
    harden(response, policy if policy and is_inert(private_file.content_type) else STRICT_POLICY)


def harden(response: HttpResponseBase, policy: str = STRICT_POLICY) -> None:
    """Give ``response`` the headers that have nothing to do with the file: of errors too."""
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = policy
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Referrer-Policy"] = "no-referrer"
    if not getattr(response, "xframe_options_exempt", False):
        headers.setdefault("X-Frame-Options", str(django_settings.X_FRAME_OPTIONS).upper())
    stored_nowhere = "no-store" in headers.get("Cache-Control", "").lower()
    headers["Cache-Control"] = "private, no-cache, no-store" if stored_nowhere else "private, no-cache"
    patch_vary_headers(response, ("Cookie", "Authorization"))


def is_inert(content_type: str) -> bool:
    """Whether a browser may show what is of this type; the setting PRIVATE_STORAGE_INLINE_TYPES adds some."""
    bare = content_type.partition(";")[0].strip().lower()
    return bare in INERT_TYPES or bare in map(str.lower, settings.get("PRIVATE_STORAGE_INLINE_TYPES"))


def content_disposition(kind: str, file_name: str) -> str:
    """Return the header for ``file_name``, of which the last path part counts; ``kind`` is inline or attachment.

    RFC 6266: in ASCII for all, and as filename* in UTF-8 (RFC 5987) where ASCII lacks something.
    """
    name = _harmless(file_name)
    plain = _NOT_PLAIN.sub("_", name if name.isascii() else _bare(name))
    header = f'{kind}; filename="{plain}"'
    if plain != name:
        header += f"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"
    return header


def _bare(name: str) -> str:
    """Return ``name`` without what stands above and below its letters."""
    return "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))


def _harmless(file_name: str) -> str:
    """Return the last part of ``file_name``, cut, and without what is not seen."""
    last = re.split(r"[/\\]", file_name)[-1]
    shown = (last if last.isprintable() else _seen(last)).strip()
    if not shown.strip(". "):
        return "download"
    root, dot, extension = shown.rpartition(".")
    room = LONGEST_FILE_NAME - len((dot + extension).encode())
    if not dot or room <= 0:
        root, dot, extension, room = shown, "", "", LONGEST_FILE_NAME
    return root.encode()[:room].decode(errors="ignore") + dot + extension


def _seen(text: str) -> str:
    return "".join(char for char in text if char in _JOINERS or unicodedata.category(char) not in _UNSEEN)
